"""SQL with full freedom inside a tenant's transaction writes nothing of its budgets' books (LIM-1).

Counters and leases hold the operator's plan against the tenant itself: whoever could set them to
nothing would pass it. Alerts are seen by the operator's people too.
"""

import orjson
import pytest

from tenantry.core.errors import ContextInvalid, TenantryError
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Transaction
from tests.integration.limits.stage import Replica, budget, plans
from tests.worlds import World

WRITES = [
    b"UPDATE tenantry.budget_counters SET used = 0, tat_us = 0",
    b"DELETE FROM tenantry.budget_counters",
    b"INSERT INTO tenantry.budget_counters SELECT tenant_id, budget_id, 'x', window_start,"
    b" window_end, -1000000, 0 FROM tenantry.budget_counters",
    b"UPDATE tenantry.budget_leases SET parts = '[]'",
    b"UPDATE tenantry.budget_leases SET expires_at = now() + interval '1 year'",
    b"DELETE FROM tenantry.budget_leases",
    b"INSERT INTO tenantry.budget_leases SELECT tenant_id, gen_random_uuid(), replica, epoch,"
    b" expires_at + interval '1 year', '[]' FROM tenantry.budget_leases",
    b"UPDATE tenantry.budget_plans SET epoch = 0",
    b"UPDATE tenantry.budget_alerts SET mark = 'soft'",
    b"DELETE FROM tenantry.budget_alerts",
    b"INSERT INTO tenantry.budget_alerts SELECT tenant_id, budget_id, subject, window_start, '100',"
    b" now(), 1, 'tenant', 'tokens', 'day', 1 FROM tenantry.budget_counters",
]
_BOOKS = """
SELECT md5(string_agg(line, ',' ORDER BY line)) FROM (
    SELECT c::text AS line FROM tenantry.budget_counters AS c
    UNION ALL SELECT l::text FROM tenantry.budget_leases AS l
    UNION ALL SELECT a::text FROM tenantry.budget_alerts AS a
    UNION ALL SELECT p::text FROM tenantry.budget_plans AS p) AS lines
"""
_TRANSACTION = b"SELECT pg_current_xact_id()::text"
_WRITE = b"SELECT * FROM tenantry.write_budgets(%(key)s, %(body)s, %(mac)s)"
_NOTHING = orjson.dumps({"counters": [], "leases": [], "ended": [], "alerts": []}).decode()


@pytest.fixture
async def spent(world: World) -> World:
    """Both tenants have budgets, counters, a lease, and an alert."""
    for ctx in (world.acme, world.globex):
        await plans(world).set(ctx, budget(hard_limit=200_000))
        replica = Replica.of(world)
        await replica.finish(ctx, await replica.call(ctx, 150), 150)
        await replica.tell()
        await replica.call(ctx, 10)
    return world


def _books(world: World) -> object:
    with world.admin() as admin:
        return admin.execute(_BOOKS).fetchone()


async def _run(world: World, statement: bytes, **given: object) -> None:
    async with world.db.tenant(world.acme) as tx:
        await tx.execute(statement, **given)


@pytest.mark.req("LIM-1", "DB-5")
async def test_a_tenants_own_sql_does_not_touch_the_operators_plan(world: World) -> None:
    await plans(world).set_plan(world.acme.tenant, budget(unit="cost", hard_limit=5))
    for statement in (
        b"UPDATE tenantry.budgets SET hard_limit = 1000000",
        b"UPDATE tenantry.budgets SET set_by = 'tenant'",
        b"DELETE FROM tenantry.budgets",
        b"INSERT INTO tenantry.budgets SELECT tenant_id, gen_random_uuid(), 'operator', scope,"
        b" subject, 'tokens', period, 1, 1, 0, '{}' FROM tenantry.budgets",
    ):
        with pytest.raises(TenantryError):
            await _run(world, statement)
    _, [kept] = await plans(world).plan(world.acme.tenant)
    assert (kept.set_by, kept.hard_limit) == ("operator", 5)


@pytest.mark.req("LIM-1", "DB-5")
async def test_a_tenants_own_sql_writes_no_counter_lease_or_alert(spent: World) -> None:
    before = _books(spent)
    for statement in WRITES:
        with pytest.raises(TenantryError):
            await _run(spent, statement)
    assert _books(spent) == before


@pytest.mark.req("LIM-1", "DB-4")
async def test_what_was_not_signed_for_this_transaction_of_this_tenant_is_not_written(
    spent: World,
) -> None:
    before, signer = _books(spent), spent.cluster.signer

    async def written(ctx: TenantContext, other: str = "", **changed: str | None) -> None:
        async with spent.db.tenant(spent.acme) as tx:
            text, mac = signer.budgets(ctx, other or await _number(tx), _NOTHING)
            given = {"key": signer.key_id, "body": text, "mac": mac, **changed}
            await tx.rows(_WRITE, **given)

    await written(spent.acme)
    async with spent.db.tenant(spent.acme) as tx:
        earlier = await _number(tx)
    for attempt in (
        written(spent.globex),
        written(spent.acme, other=earlier),
        written(spent.acme, body=f"budgets|{spent.acme.tenant.hex}|{earlier}|{_NOTHING}"),
    ):
        with pytest.raises(ContextInvalid):
            await attempt
    for forged in ("0" * 64, "", None):
        with pytest.raises(ContextInvalid):
            await written(spent.acme, mac=forged)
    row, mac = signer.row(spent.acme, _NOTHING)  # signed, but for the ledger
    with pytest.raises(ContextInvalid):
        await _run(spent, _WRITE, key=signer.key_id, body=row, mac=mac)
    with pytest.raises(ContextInvalid):
        await _run(spent, _WRITE, key="k0", body=_NOTHING, mac="")
    with pytest.raises(ContextInvalid):
        await _run(spent, _WRITE, key=signer.key_id, body=_NOTHING, mac=None)
    assert _books(spent) == before


async def _number(tx: Transaction) -> str:
    return str(await tx.value(_TRANSACTION))
