"""Storage is counted once a day, from the tenant's own rows, and every table is thought of."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from tenantry.core.clock import ManualClock
from tenantry.metering.storage import StorageMeter
from tests.integration.metering.books import price_book, rows
from tests.worlds import World

NOT_CONTENT = {
    # Who may do what: not what a tenant keeps with us.
    "tenants", "members", "api_keys", "assistants", "assistant_versions", "connectors",
    "vault_keys", "vault_secrets", "groups", "group_members", "audiences",
    "provider_accounts", "model_policies", "vector_versions", "suspended_operations", "approvals",
    # What is being done, and gone when it is.
    "jobs", "job_shares",
    # What we keep about a tenant.
    "usage_events", "audit_events", "audit_heads", "break_glass_grants", "break_glass_sessions",
    "budget_plans", "budgets", "budget_counters", "budget_leases", "budget_alerts",
    # An index over what is counted, like any other.
    "vector_shelves", "vector_changes",
    # Heads of rows that are counted.
    "conversations", "documents", "patterns",
}  # fmt: skip


@dataclass
class Day(ManualClock):
    instant: datetime = field(default=datetime(2026, 5, 1, 9, tzinfo=UTC))


@pytest.fixture
def clock() -> Day:
    return Day()


@pytest.fixture
def meter(world: World, clock: Day) -> StorageMeter:
    return StorageMeter(world.db, price_book(world), clock)


def store(world: World, tenant: object, connector: str, size: int) -> None:
    """A data file of `size` bytes."""
    with world.admin() as connection:
        connection.execute(
            "WITH c AS (INSERT INTO tenantry.connectors (tenant_id, connector_id, name, kind)"
            " VALUES (%(t)s, gen_random_uuid(), %(c)s, 'files') RETURNING connector_id)"
            " INSERT INTO tenantry.data_files (tenant_id, connector_id, table_name, sha256,"
            " stored_sha256, size_bytes, row_count, columns, created_by)"
            " SELECT %(t)s, connector_id, 'x', sha256('x'), sha256('x'), %(s)s, 9, '[]',"
            " gen_random_uuid()"
            " FROM c",
            {"t": tenant, "c": connector, "s": size},
        )


def converse(world: World, tenant: object, text: str) -> None:
    """A conversation of one message."""
    with world.admin() as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            "INSERT INTO tenantry.messages (tenant_id, conversation_id, message_no, role, content)"
            " VALUES (%s, gen_random_uuid(), 1, 'user', %s)",
            [tenant, text],
        )


@pytest.mark.req("COST-2")
async def test_storage_is_entered_by_kind_with_its_bytes_and_price(
    world: World, meter: StorageMeter
) -> None:
    store(world, world.acme.tenant, "a", 5000)
    store(world, world.acme.tenant, "b", 700)
    converse(world, world.acme.tenant, "x" * 1000)
    assert await meter.record(world.acme) == 2
    entered = {r["model"]: r for r in rows(world, world.acme)}
    files = entered["files"]
    assert (files["kind"], files["operation"]) == ("recorded", "storage")
    assert (files["size_bytes"], files["row_count"]) == (5700, 2)
    assert files["cost_picousd"] == 5700 * 4
    assert entered["conversations"]["size_bytes"] >= 1000
    assert all(r["priced"] and r["calls"] == 1 for r in entered.values())


@pytest.mark.req("COST-2", "DB-1")
async def test_only_the_tenants_own_content_is_counted(world: World, meter: StorageMeter) -> None:
    store(world, world.acme.tenant, "ours", 100)
    store(world, world.globex.tenant, "theirs", 9_000_000)
    measured = {kept.what: kept.size_bytes for kept in await meter.measure(world.acme)}
    assert measured["files"] == 100
    await meter.record(world.acme)
    assert rows(world, world.globex) == []


@pytest.mark.req("COST-2")
async def test_storage_is_entered_once_a_day(world: World, meter: StorageMeter, clock: Day) -> None:
    store(world, world.acme.tenant, "a", 5000)
    assert await meter.record(world.acme) == 1
    store(world, world.acme.tenant, "b", 5000)
    assert await meter.record(world.acme) == 0
    clock.advance(15 * 3600)
    assert await meter.record(world.acme) == 1
    assert sorted(r["size_bytes"] for r in rows(world, world.acme)) == [5000, 10_000]


@pytest.mark.req("COST-2")
async def test_two_tenants_are_entered_on_the_same_day(world: World, meter: StorageMeter) -> None:
    store(world, world.acme.tenant, "a", 10)
    store(world, world.globex.tenant, "a", 20)
    assert await meter.record(world.acme) == await meter.record(world.globex) == 1
    assert rows(world, world.acme)[0]["size_bytes"] == 10
    assert rows(world, world.globex)[0]["size_bytes"] == 20


@pytest.mark.req("COST-2")
async def test_a_tenant_that_keeps_nothing_is_charged_for_nothing(
    world: World, meter: StorageMeter
) -> None:
    assert await meter.record(world.acme) == 0
    kinds = {kept.what for kept in await meter.measure(world.acme)}
    assert kinds == {
        "conversations", "tool_calls", "documents", "vectors", "files", "patterns", "results",
        "job_inputs",
    }  # fmt: skip


@pytest.mark.req("COST-2")
async def test_every_tenant_table_is_counted_or_known_not_to_be_content(world: World) -> None:
    tables = (
        "SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = 'tenantry'::regnamespace AND c.relkind = 'r'"
        " AND a.attname = 'tenant_id'"
    )
    source = "SELECT prosrc FROM pg_proc WHERE proname = 'stored_sizes'"
    with world.admin() as connection:
        found = {row[0] for row in connection.execute(tables).fetchall()}
        counting = connection.execute(source).fetchone()
    assert counting is not None
    counted = {table for table in found if f"tenantry.{table} " in counting[0]}
    assert found - counted == NOT_CONTENT & found
    assert {"messages", "chunks", "data_files", "pattern_versions"} <= counted
