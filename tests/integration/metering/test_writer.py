"""Rows enter the ledger by groups that cross tenants, each under its own tenant or not at all."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tenantry.core.errors import BoundaryCrossed, ContextInvalid, StoreUnavailable
from tenantry.core.ids import CallId, TenantId, new_id
from tenantry.isolation.context import TenantContext
from tenantry.metering.entries import Entry
from tenantry.metering.writer import SignedRow
from tests.worlds import World


def _entry(**changes: Any) -> Entry:
    entry = Entry(
        call_id=CallId(new_id()),
        kind="intent",
        operation="chat",
        actor="member:x",
        request_id="r",
        provider="p",
        model="m",
        price_version=0,
        input_tokens=5,
        lifetime_s=60.0,
    )
    return replace(entry, **changes)


def _signed(world: World, ctx: TenantContext, entry: Entry) -> SignedRow:
    return SignedRow(*world.cluster.signer.row(ctx, orjson.dumps(entry).decode()))


def _rows(world: World) -> set[tuple[UUID, UUID, str]]:
    with world.admin() as admin:
        found = admin.execute("SELECT tenant_id, call_id, kind FROM tenantry.usage_events")
        return set(found.fetchall())


@pytest.mark.req("COST-1", "COST-3")
async def test_rows_of_many_tenants_in_one_group_each_go_to_their_own(world: World) -> None:
    wanted = [(ctx, _entry()) for _ in range(20) for ctx in (world.acme, world.globex)]
    done = await asyncio.gather(*(world.writer.append(ctx, entry) for ctx, entry in wanted))
    assert all(done)
    assert _rows(world) == {(ctx.tenant, entry.call_id, "intent") for ctx, entry in wanted}


@pytest.mark.req("COST-3")
async def test_a_row_that_is_there_already_is_told_and_changes_nothing(world: World) -> None:
    entry = _entry()
    assert await world.writer.append(world.acme, entry)
    assert not await world.writer.append(world.acme, entry)
    end = replace(entry, kind="settled", calls=1, lifetime_s=None)
    first, second = await asyncio.gather(
        world.writer.append(world.acme, end), world.writer.append(world.acme, end)
    )
    assert (first, second) == (True, False)


def _moved(row: SignedRow, world: World) -> SignedRow:
    return replace(row, body=row.body.replace(world.acme.tenant.hex, world.globex.tenant.hex))


def _cheaper(row: SignedRow, _: World) -> SignedRow:
    return replace(row, body=row.body.replace('"input_tokens":5', '"input_tokens":1'))


def _unsigned(row: SignedRow, _: World) -> SignedRow:
    return replace(row, mac="0" * 64)


def _context_token(_: SignedRow, world: World) -> SignedRow:
    # What signs a transaction's context is no signature of a row.
    token = world.cluster.signer.token(world.acme, 1, 9_999_999_999)
    return SignedRow(token[:-64], token[-64:])


@pytest.mark.req("COST-1", "SEC-4")
@pytest.mark.parametrize("forge", [_moved, _cheaper, _unsigned, _context_token])
async def test_a_row_that_its_tenant_did_not_sign_is_refused_and_recorded(
    world: World, forge: Any
) -> None:
    honest, forged = _entry(), forge(_signed(world, world.acme, _entry()), world)
    outcomes = await asyncio.gather(
        world.writer.append(world.globex, honest),
        world.writer.add(world.acme, forged),
        return_exceptions=True,
    )
    assert outcomes[0] is True  # the neighbour's row in the same group goes in
    assert isinstance(outcomes[1], BoundaryCrossed)
    assert _rows(world) == {(world.globex.tenant, honest.call_id, "intent")}
    events = await world.audit_events(world.acme)
    assert [(e["action"], e["outcome"]) for e in events] == [("ledger.row", "refused")]


@pytest.mark.req("COST-1", "DB-6")
async def test_a_context_that_nobody_sealed_signs_nothing(world: World) -> None:
    forged = replace(world.acme, tenant=TenantId(world.globex.tenant))
    with pytest.raises(ContextInvalid):
        await world.writer.append(forged, _entry())
    assert _rows(world) == set()


@pytest.mark.req("COST-3", "DB-1")
async def test_a_row_that_cannot_be_stored_takes_no_neighbour_with_it(world: World) -> None:
    good, bad = _entry(), _entry(input_tokens=-1)
    outcomes = await asyncio.gather(
        world.writer.append(world.globex, good),
        world.writer.append(world.acme, bad),
        return_exceptions=True,
    )
    assert outcomes[0] is True
    assert isinstance(outcomes[1], Exception)
    assert _rows(world) == {(world.globex.tenant, good.call_id, "intent")}


@pytest.mark.req("COST-3")
async def test_a_store_that_is_away_is_told_and_found_again(world: World) -> None:
    with world.admin() as admin:
        admin.execute("REVOKE EXECUTE ON FUNCTION tenantry.append_usage FROM tenantry_ledger")
        with pytest.raises(Exception, match=r"wrong|reached"):
            await world.writer.append(world.acme, _entry())
        admin.execute("GRANT EXECUTE ON FUNCTION tenantry.append_usage TO tenantry_ledger")
    entries = [_entry() for _ in range(30)]
    tasks = [asyncio.create_task(world.writer.append(world.acme, entry)) for entry in entries]
    with world.admin() as admin:
        await asyncio.sleep(0)
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'tenantry_ledger' AND datname = %s",
            [world.database],
        )
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    kept = {call for _, call, _ in _rows(world)}
    for entry, outcome in zip(entries, outcomes, strict=True):
        assert outcome is True or isinstance(outcome, StoreUnavailable)
        if outcome is True:
            assert entry.call_id in kept
    assert await world.writer.append(world.acme, _entry())


@pytest.mark.req("DB-5")
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM tenantry.usage_events",
        "INSERT INTO tenantry.usage_events (tenant_id) VALUES (gen_random_uuid())",
        "UPDATE tenantry.usage_events SET cost_picousd = 0",
        "DELETE FROM tenantry.usage_events",
        "SELECT * FROM tenantry.tenants",
        "SELECT * FROM tenantry_private.signing_keys",
        "SELECT tenantry.append_audits('[]')",
        "SELECT * FROM tenantry.sweep_usage(1)",
        "SET ROLE tenantry_tenant",
        "SET ROLE tenantry_owner",
    ],
)
def test_the_writers_role_can_do_nothing_else(world: World, statement: str) -> None:
    secrets = world.cluster.secrets
    url = make_conninfo(
        world.cluster.url(world.database), user="tenantry_ledger", password=secrets.ledger_password
    )
    with psycopg.connect(url) as role, pytest.raises(psycopg.errors.InsufficientPrivilege):
        role.execute(statement.encode())
