"""The audit log: appended by one function, tampering is found, rollbacks pass it by (SEC-4)."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tenantry.core.errors import BoundaryCrossed, TenantryError
from tenantry.core.events import AuditEvent
from tests.isolation.conftest import statements_as
from tests.worlds import World

_CHAIN = 5
_VERIFY = "SELECT tenant_id, seq, problem FROM tenantry.verify_audit()"
# Recomputes a chain from its events: what an administrator who knows the design would do.
_RECOMPUTE = """
DO $$
DECLARE
    of uuid := '{tenant}';
    e tenantry.audit_events%ROWTYPE;
    link bytea := sha256(convert_to(of::text, 'UTF8'));
    n bigint := 0;
BEGIN
    FOR e IN SELECT * FROM tenantry.audit_events WHERE tenant_id = of ORDER BY seq LOOP
        n := n + 1;
        UPDATE tenantry.audit_events AS a SET seq = n, previous_hash = link,
               hash = sha256(link || tenantry.audit_bytes(of, n, e.at, e.actor, e.action,
                             e.outcome, e.layer, e.target_digest, e.detail, e.request_id))
         WHERE a.tenant_id = of AND a.seq = e.seq RETURNING a.hash INTO link;
    END LOOP;
    UPDATE tenantry.audit_heads SET seq = n, hash = link WHERE tenant_id = of;
END $$
"""
_NO_ANCHORS = "DELETE FROM tenantry_private.audit_anchors;"
_EDITS = {
    column: f"UPDATE tenantry.audit_events SET {column} = {value} WHERE tenant_id = '{{tenant}}'"
    " AND seq = 3"
    for column, value in {
        "actor": "'member:nobody'",
        "action": "'test.harmless'",
        "outcome": "'allowed'",
        "layer": "'tool'",
        "target_digest": "'0'",
        "detail": "detail - 'n'",
        "request_id": "'other'",
        "at": "at - interval '1 microsecond'",
        "previous_hash": "sha256('x')",
        "hash": "sha256('x')",
    }.items()
}
TAMPERINGS = {
    **{f"edit-{column}": sql for column, sql in _EDITS.items()},
    **{
        f"delete-{which}": "DELETE FROM tenantry.audit_events WHERE tenant_id = '{tenant}'"
        f" AND seq = {seq}"
        for which, seq in (("the-first", 1), ("one-between", 3), ("the-last", 5))
    },
    "delete-all": "DELETE FROM tenantry.audit_events WHERE tenant_id = '{tenant}'",
    "delete-the-head": "DELETE FROM tenantry.audit_heads WHERE tenant_id = '{tenant}'",
    "move-the-head-back": "UPDATE tenantry.audit_heads SET (seq, hash) = (SELECT seq, hash FROM"
    " tenantry.audit_events WHERE tenant_id = '{tenant}' AND seq = 4) WHERE tenant_id = '{tenant}'",
    "insert-between": "UPDATE tenantry.audit_events SET seq = seq + 1 WHERE tenant_id = '{tenant}'"
    " AND seq >= 5; INSERT INTO tenantry.audit_events SELECT tenant_id, 5, at, actor, action,"
    " outcome, layer, target_digest, detail, request_id, previous_hash, hash"
    " FROM tenantry.audit_events WHERE tenant_id = '{tenant}' AND seq = 4",
    "insert-at-the-end": "INSERT INTO tenantry.audit_events SELECT tenant_id, 6, at, actor, action,"
    " outcome, layer, target_digest, detail, request_id, hash, sha256('x')"
    " FROM tenantry.audit_events WHERE tenant_id = '{tenant}' AND seq = 5",
    "swap-two": "UPDATE tenantry.audit_events SET seq = -seq WHERE tenant_id = '{tenant}'"
    " AND seq IN (2, 3); UPDATE tenantry.audit_events SET seq = 5 + seq"
    " WHERE tenant_id = '{tenant}' AND seq < 0",
    "give-to-the-neighbour": "UPDATE tenantry.audit_events SET tenant_id = '{neighbour}', seq = 6"
    " WHERE tenant_id = '{tenant}' AND seq = 5",
    "edit-an-anchor": "UPDATE tenantry_private.audit_anchors SET heads = '{{}}'",
    "date-an-anchor-back": "UPDATE tenantry_private.audit_anchors SET at = at - interval '1 day'",
    "delete-an-anchor-between": "DELETE FROM tenantry_private.audit_anchors WHERE anchor = 1",
    # Consistent in itself: only the chain of heads knows better.
    "edit-and-recompute": _EDITS["outcome"] + ";" + _RECOMPUTE,
    "delete-and-recompute": "DELETE FROM tenantry.audit_events WHERE tenant_id = '{tenant}'"
    " AND seq = 2;" + _RECOMPUTE,
    "cut-the-end-and-recompute": "DELETE FROM tenantry.audit_events WHERE tenant_id = '{tenant}'"
    " AND seq = 5;" + _RECOMPUTE,
    # Without the anchors, which would find these too: the chain itself knows.
    "edit-and-rehash-one-event": _NO_ANCHORS + _EDITS["outcome"] + ";"
    "UPDATE tenantry.audit_events AS e SET hash = sha256(previous_hash || tenantry.audit_bytes("
    "tenant_id, seq, at, actor, action, outcome, layer, target_digest, detail, request_id))"
    " WHERE tenant_id = '{tenant}' AND seq = 3",
    "delete-and-recompute-around-the-gap": _NO_ANCHORS
    + "DELETE FROM tenantry.audit_events WHERE tenant_id = '{tenant}' AND seq = 3;"
    + _RECOMPUTE.replace("n := n + 1", "n := e.seq"),
    "forget-the-tenant": "DELETE FROM tenantry.audit_events WHERE tenant_id = '{tenant}';"
    "DELETE FROM tenantry.audit_heads WHERE tenant_id = '{tenant}'",
}


def event(world: World, number: int = 0, outcome: Any = "refused") -> AuditEvent:
    return AuditEvent(
        world.acme.tenant, "member:x", "test.tried", outcome, "database", f"target-{number}",
        {"n": number}, f"req-{number}",
    )  # fmt: skip


@pytest.fixture
async def written(world: World) -> World:
    """Both tenants have a chain, and two anchors hold their heads."""
    for number in range(_CHAIN):
        await world.audit.record(event(world, number))
        neighbours = AuditEvent(world.globex.tenant, "member:y", "test.tried", "refused", "api")
        await world.audit.record(neighbours)
        if number == 1:
            assert await world.audit.anchor() == 1
    assert await world.audit.anchor() == 2
    return world


@asynccontextmanager
async def tampered(world: World, sql: str) -> AsyncIterator[list[str]]:
    """What the verification finds after `sql`, which is then undone."""
    whole = sql.format(tenant=world.acme.tenant, neighbour=world.globex.tenant)
    with world.admin() as admin:
        admin.execute("BEGIN")
        admin.execute(whole.encode())
        found = admin.execute(_VERIFY.encode()).fetchall()
        admin.execute("ROLLBACK")
    yield [f"{tenant} {seq}: {problem}" for tenant, seq, problem in found]


@pytest.mark.req("SEC-4")
async def test_untouched_log_is_whole(written: World) -> None:
    verified = await written.audit.verify()
    assert (verified.events, verified.chains, verified.defects) == (2 * _CHAIN, 2, ())


@pytest.mark.req("SEC-4")
async def test_every_kind_of_tampering_is_found(written: World) -> None:
    unfound = []
    for name, sql in TAMPERINGS.items():
        async with tampered(written, sql) as found:
            if not found:
                unfound.append(name)
    assert unfound == []
    assert (await written.audit.verify()).defects == ()


@pytest.mark.req("SEC-4")
async def test_random_tampering_is_found(written: World) -> None:
    """Any column of any event, any change of one character or byte."""
    chance = random.Random(7)
    changes = {
        "actor": "overlay(actor PLACING '{c}' FROM {n})",
        "action": "overlay(action PLACING '{c}' FROM {n})",
        "layer": "overlay(layer PLACING '{c}' FROM {n})",
        "request_id": "overlay(request_id PLACING '{c}' FROM {n})",
        "target_digest": "overlay(target_digest PLACING '{c}' FROM {n})",
        "detail": "jsonb_build_object('n', {n} + 1000)",
        "at": "at + {n} * interval '1 microsecond'",
        "seq": "seq + {n} + 100",
        "hash": "set_byte(hash, {n}, (get_byte(hash, {n}) + 1) % 256)",
        "previous_hash": "set_byte(previous_hash, {n}, (get_byte(previous_hash, {n}) + 1) % 256)",
    }
    for _ in range(150):
        column = chance.choice(sorted(changes))
        change = changes[column].replace("{n}", str(chance.randint(1, 5))).replace("{c}", "Z")
        seq = chance.randint(1, _CHAIN)
        sql = (
            f"UPDATE tenantry.audit_events SET {column} = {change}"
            f" WHERE tenant_id = '{{tenant}}' AND seq = {seq}"
        )
        async with tampered(written, sql) as found:
            assert found, sql


@pytest.mark.req("SEC-4")
async def test_event_that_commits_after_an_anchor_was_taken_is_in_the_next(world: World) -> None:
    """Its time is older than the anchor's, but the anchor could not see it."""
    url = make_conninfo(
        world.cluster.url(world.database),
        user="tenantry_audit",
        password=world.cluster.secrets.audit_password,
    )
    append = (
        "SELECT tenantry.append_audits(json_build_array(json_build_object('tenant', %s::uuid,"
        " 'actor', 'a', 'action', 'late.event', 'outcome', 'refused', 'layer', 'api',"
        " 'target_digest', '', 'detail', '{}'::json, 'request_id', '')))"
    )
    await world.audit.record(event(world))
    with psycopg.connect(url) as slow:
        slow.execute(append, [world.acme.tenant])
        assert await world.audit.anchor() == 1
        slow.commit()
    assert await world.audit.anchor() == 2
    assert await world.audit.anchor() == 2  # and it is not repeated for ever
    cut = "DELETE FROM tenantry.audit_events WHERE tenant_id = '{tenant}' AND seq = 2;"
    async with tampered(world, cut + _RECOMPUTE) as found:
        assert found


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize("role", ["app", "auth", "audit", "operator", "breakglass", "ledger"])
@pytest.mark.parametrize(
    "statement",
    [
        b"INSERT INTO tenantry.audit_events SELECT * FROM tenantry.audit_events",
        b"INSERT INTO tenantry.audit_events (tenant_id, seq) VALUES (gen_random_uuid(), 1)",
        b"UPDATE tenantry.audit_events SET actor = 'nobody'",
        b"DELETE FROM tenantry.audit_events",
        b"TRUNCATE tenantry.audit_events",
        b"UPDATE tenantry.audit_heads SET seq = 0",
        b"DELETE FROM tenantry.audit_heads",
        b"INSERT INTO tenantry.audit_heads VALUES (gen_random_uuid(), 0, '')",
        b"DELETE FROM tenantry_private.audit_anchors",
        b"SELECT * FROM tenantry_private.audit_anchors",
    ],
)
async def test_no_role_that_serves_can_rewrite_the_log(
    written: World, role: str, statement: bytes
) -> None:
    async with statements_as(written.cluster, written.database, role) as statements:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await statements.execute(statement)
    assert (await written.audit.verify()).events == 2 * _CHAIN


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize(
    "statement",
    [
        b"INSERT INTO tenantry.audit_events (tenant_id, seq, at, actor, action, outcome, layer,"
        b" target_digest, detail, request_id, previous_hash, hash) VALUES (%(tenant)s, 99, now(),"
        b" 'x', 'x', 'allowed', 'api', '', '{}', '', '', '')",
        b"UPDATE tenantry.audit_events SET outcome = 'allowed'",
        b"DELETE FROM tenantry.audit_events",
        b"UPDATE tenantry.audit_heads SET seq = 0",
    ],
)
async def test_tenant_cannot_rewrite_its_own_chain(written: World, statement: bytes) -> None:
    async def rewrite() -> None:
        async with written.db.tenant(written.acme) as tx:
            await tx.execute(statement)

    with pytest.raises(TenantryError):
        await rewrite()
    assert (await written.audit.verify()).defects == ()


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize("role", ["app", "auth", "operator", "breakglass"])
@pytest.mark.parametrize(
    "function", ["append_audit", "append_audits", "anchor_audit", "verify_audit"]
)
async def test_only_the_audit_role_calls_the_functions(
    world: World, role: str, function: str
) -> None:
    arguments = {
        "append_audits": "'[]'::json",
        "append_audit": "gen_random_uuid(), 'a', 'b', 'refused', 'api', '', '{}'::jsonb, ''",
    }
    call = f"SELECT tenantry.{function}({arguments.get(function, '')})"
    async with statements_as(world.cluster, world.database, role) as statements:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await statements.execute(call.encode())


@pytest.mark.req("SEC-4")
async def test_refusal_survives_the_rollback_of_the_attack(world: World) -> None:
    async def attack() -> None:
        async with world.db.tenant(world.acme, keeping=True) as tx:
            await tx.execute(b"UPDATE tenantry.members SET display_name = 'half'")
            await world.audit.record(event(world, 7))
            raise BoundaryCrossed

    with pytest.raises(BoundaryCrossed):
        await attack()
    (kept,) = await world.audit_events(world.acme)
    assert (kept["action"], kept["outcome"], kept["detail"]) == ("test.tried", "refused", {"n": 7})
    async with world.db.tenant(world.acme) as tx:
        assert await tx.value(b"SELECT display_name FROM tenantry.members") == ""


@pytest.mark.req("SEC-4")
async def test_events_written_at_once_form_one_chain_a_tenant(world: World) -> None:
    contexts = (world.acme, world.globex)
    await asyncio.gather(
        *(
            world.audit.record(
                AuditEvent(contexts[n % 2].tenant, "member:x", "test.tried", "refused", "api")
            )
            for n in range(80)
        )
    )
    for ctx in contexts:
        events = await world.audit_events(ctx)
        assert [e["seq"] for e in events] == list(range(1, 41))
    assert (await world.audit.verify()).defects == ()


@pytest.mark.req("SEC-4")
async def test_tenant_sees_its_own_chain_alone(written: World) -> None:
    for ctx in (written.acme, written.globex):
        async with written.db.tenant(ctx) as tx:
            rows = await tx.rows(b"SELECT DISTINCT tenant_id FROM tenantry.audit_events")
        assert rows == [{"tenant_id": ctx.tenant}]
