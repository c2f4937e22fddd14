"""Calls that a model asks for and that change something: each waits for its member (SEC-3)."""

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from tenantry.connectors.approvals import Approval
from tenantry.connectors.base import QueryLimits
from tenantry.core.errors import Conflict, NotFound, QueryRefused
from tenantry.core.ids import new_id
from tenantry.isolation.context import TenantContext
from tenantry.metering.ledger import Ledger
from tenantry.metering.prices import PriceBook
from tenantry.tools.base import FailedAt
from tenantry.tools.call_api import CallApi
from tenantry.tools.direct import DirectAccess
from tenantry.tools.references import References
from tests.integration.connectors.http.conftest import Api, Desk, api, desk, serve
from tests.worlds import World

__all__ = ["api", "desk", "serve"]  # fixtures
pytestmark = pytest.mark.req("SEC-3", "SEC-4")
LIMITS = QueryLimits()
FIRST = UUID(int=0)
ORDER = '{"body": {"sku": "s1"}}'
WRITES: dict[str, Any] = {
    "operations": {"allow": ["createOrder", "listOrders"]}, "writes": "approval",
    "fixed": {"body.tenant_id": "acme"},
}  # fmt: skip


@dataclass
class Office:
    """Acme's shop, whose writing calls wait, and who decides on them."""

    desk: Desk
    direct: DirectAccess
    conversation: UUID

    @property
    def acme(self) -> TenantContext:
        """The member who asks."""
        return self.desk.world.acme

    @property
    def api(self) -> Api:
        """What the shop's server was asked."""
        return self.desk.api

    async def asks(self, arguments: str = ORDER, conversation: UUID | None = None) -> Any:
        """A model asks for an order; what it is told, and what the member is shown."""
        references = References(conversation or self.conversation)
        tool = CallApi(self.acme, self.desk.catalog, references)
        return await tool.run("shop", "createOrder", arguments)

    async def waiting(self, ctx: TenantContext | None = None) -> list[Approval]:
        """What waits for a member."""
        return await self.desk.catalog.approvals.list_pending(ctx or self.acme, FIRST, 100)

    async def asked(self) -> UUID:
        """The id of a call that waits."""
        await self.asks()
        return (await self.waiting())[-1].approval_id

    async def approve(self, approval: UUID, ctx: TenantContext | None = None) -> Any:
        """A member approves."""
        return await self.direct.approve(ctx or self.acme, approval, LIMITS)

    async def unusable(self) -> list[str]:
        """Reasons for which approvals were refused."""
        events = await self.desk.world.audit_events(self.acme)
        return [e["detail"]["reason"] for e in events if e["action"] == "approval.unusable"]


@pytest.fixture
async def office(world: World, desk: Desk) -> Office:
    """Acme and globex both have the shop."""
    for ctx in (world.acme, world.globex):
        await desk.add(ctx, **WRITES)
    ledger = Ledger(world.db, world.writer, PriceBook(), world.clock)
    direct = DirectAccess(world.db, desk.catalog, None, ledger, world.clock)  # type: ignore[arg-type]  # no files here
    return Office(desk, direct, new_id())


async def test_a_call_that_writes_is_made_once_its_member_approved_and_exactly_as_asked(
    office: Office,
) -> None:
    told = await office.asks()
    assert office.api.calls == []
    assert "Nothing was done" in told.content["note"]
    (shown,) = told.attachments
    (waiting,) = await office.waiting()
    assert (shown.kind, shown.approval_id) == ("approval", str(waiting.approval_id))
    assert waiting.asked.arguments == {"body": {"sku": "s1"}}
    assert str(waiting.approval_id) not in str(told.content)  # a model sees a reference
    assert (await office.approve(waiting.approval_id))["status"] == 200
    (sent,) = office.api.calls
    assert (sent.method, office.api.bodies[-1]) == ("POST", b'{"sku":"s1","tenant_id":"acme"}')
    assert await office.waiting() == []
    actions = [e["action"] for e in await office.desk.world.audit_events(office.acme)]
    assert [a for a in actions if a.startswith(("approval", "call"))] == [
        "approval.asked", "approval.approved", "call.sent",
    ]  # fmt: skip
    with office.desk.world.admin() as admin:
        row = admin.execute("SELECT count(*) FROM tenantry.usage_events WHERE model = 'call_api'")
        assert row.fetchall() == [(1,)]


async def test_an_approval_is_good_once_whoever_races(office: Office) -> None:
    approval = await office.asked()
    tries = [office.approve(approval) for _ in range(5)]
    done = await asyncio.gather(*tries, return_exceptions=True)
    assert sorted(type(each).__name__ for each in done) == ["Conflict"] * 4 + ["dict"]
    assert len(office.api.calls) == 1
    with pytest.raises(Conflict):
        await office.approve(approval)
    assert await office.unusable() == ["decided before"] * 5


async def test_an_approval_that_was_refused_or_has_expired_is_good_for_nothing(
    office: Office,
) -> None:
    refused, late = await office.asked(), await office.asked()
    await office.desk.catalog.approvals.decide(office.acme, refused, "refused")
    with office.desk.world.admin() as admin:
        left = "SELECT extract(epoch FROM expires_at - requested_at) FROM tenantry.approvals"
        assert {float(row[0]) for row in admin.execute(left)} == {300.0}
        admin.execute("UPDATE tenantry.approvals SET expires_at = now() - interval '1 s'")
    assert await office.waiting() == []
    for approval in (refused, late):
        with pytest.raises(Conflict):
            await office.approve(approval)
    assert office.api.calls == []
    assert await office.unusable() == ["decided before", "expired"]


CHANGES = (
    'UPDATE tenantry.approvals SET arguments = \'{"body": {"sku": "s2"}}\'',
    "UPDATE tenantry.approvals SET operation = 'listOrders', arguments = '{}'",
    "UPDATE tenantry.connectors SET options"
    " = jsonb_set(options, '{fixed,body.tenant_id}', '\"globex\"')",
    "UPDATE tenantry.connectors SET options = jsonb_set(options, '{writes}', '\"refused\"')",
    "UPDATE tenantry.connectors SET options = jsonb_set(options, '{writes}', '\"allowed\"')",
)


async def test_what_is_not_what_was_asked_any_more_is_not_called(office: Office) -> None:
    config = await office.desk.catalog.find(office.acme, "shop")
    for changed in CHANGES:
        approval = await office.asked()
        with office.desk.world.admin() as admin:
            admin.execute(changed)
            with pytest.raises((Conflict, QueryRefused)):
                await office.approve(approval)
            admin.execute("UPDATE tenantry.connectors SET options = %s", [Jsonb(config.options)])
    assert office.api.calls == []
    assert await office.unusable() == ["changed"] * 4  # what may not write is refused as such


async def test_nobody_else_sees_or_approves_it(office: Office) -> None:
    approval, world = await office.asked(), office.desk.world
    for other in (world.context(world.acme, "admin"), world.globex):
        assert await office.waiting(other) == []
        with pytest.raises(NotFound):
            await office.approve(approval, other)
        with pytest.raises(NotFound):
            await office.desk.catalog.approvals.decide(other, approval, "refused")
    assert office.api.calls == []
    assert len(await office.waiting()) == 1


async def test_a_model_can_neither_approve_nor_ask_where_nobody_listens(office: Office) -> None:
    for arguments in ('{"body": {"sku": "s1"}, "approved": true}', '{"body": {"sku": 7}}'):
        with pytest.raises(FailedAt):
            await office.asks(arguments)
    tool = CallApi(office.acme, office.desk.catalog, References())
    with pytest.raises(FailedAt, match="Nobody can approve"):
        await tool.run("shop", "createOrder", ORDER)
    assert await office.waiting() == []
    assert office.api.calls == []


async def test_only_so_many_wait_and_what_reads_does_not(office: Office) -> None:
    for _ in range(20):
        await office.asks()
    with pytest.raises(FailedAt, match="wait for the member already"):
        await office.asks()
    tool = CallApi(office.acme, office.desk.catalog, References(office.conversation))
    read = await tool.run("shop", "listOrders")
    assert read.attachments == ()
    assert len(office.api.calls) == 1


async def test_what_expired_long_ago_is_removed(office: Office) -> None:
    await office.asked()
    with office.desk.world.admin() as admin:
        admin.execute("UPDATE tenantry.approvals SET expires_at = now() - interval '31 days'")
    await office.asked()
    with office.desk.world.admin() as admin:
        left = admin.execute("SELECT count(*) FROM tenantry.approvals").fetchall()
    assert left == [(1,)]
