"""The directory of tenants: kept by operators, who see no tenant's content (DB-5)."""

import asyncio
from uuid import UUID, uuid4

import psycopg
import pytest

from tenantry.core.errors import Conflict, InvalidRequest, NotFound
from tenantry.core.ids import PLATFORM
from tenantry.isolation.tenants import Tenant, TenantDirectory
from tests.isolation.conftest import statements_as
from tests.worlds import World


@pytest.fixture
def directory(world: World) -> TenantDirectory:
    return TenantDirectory(world.operator_db)


@pytest.mark.req("DB-5")
async def test_tenant_is_created_found_and_listed(directory: TenantDirectory) -> None:
    made = await directory.create("initech")
    assert made.status == "active"
    assert await directory.get(made.id) == made
    assert await directory.find("initech") == made
    assert made in await directory.list_tenants(PLATFORM, 100)


@pytest.mark.req("DB-5")
@pytest.mark.parametrize(
    "name", ["", "-a", "A", "a b", "a_b", "ä", "a" * 64, "a\n", "a;drop", "../a", "a/b"]
)
async def test_name_that_could_mean_something_else_is_refused(
    directory: TenantDirectory, name: str
) -> None:
    with pytest.raises(InvalidRequest):
        await directory.create(name)


@pytest.mark.req("DB-5")
async def test_name_stands_for_one_tenant_also_when_asked_at_once(
    directory: TenantDirectory,
) -> None:
    """No unique key may tell of other tenants, so the directory takes turns."""
    made = await asyncio.gather(
        *(directory.create("initech") for _ in range(8)), return_exceptions=True
    )
    assert sum(isinstance(m, Tenant) for m in made) == 1
    assert sum(isinstance(m, Conflict) for m in made) == 7


@pytest.mark.req("DB-5")
async def test_unknown_tenant_is_not_found(directory: TenantDirectory) -> None:
    with pytest.raises(NotFound):
        await directory.get(uuid4())
    with pytest.raises(NotFound):
        await directory.find("nobody")
    with pytest.raises(NotFound):
        await directory.set_status(uuid4(), "suspended")


@pytest.mark.req("DB-5")
async def test_status_changes_and_only_to_what_exists(
    world: World, directory: TenantDirectory
) -> None:
    assert (await directory.set_status(world.acme.tenant, "suspended")).status == "suspended"
    assert (await directory.get(world.globex.tenant)).status == "active"
    assert (await directory.set_status(world.acme.tenant, "active")).status == "active"
    with pytest.raises(InvalidRequest):
        await directory.set_status(world.acme.tenant, "deleted")


@pytest.mark.req("DB-5")
async def test_pages_go_through_all_tenants_once(directory: TenantDirectory) -> None:
    for number in range(5):
        await directory.create(f"tenant-{number}")
    seen: list[UUID] = []
    while page := await directory.list_tenants(seen[-1] if seen else PLATFORM, 2):
        assert len(page) <= 2
        seen.extend(t.id for t in page)
    assert len(seen) == len(set(seen)) == 7


@pytest.mark.req("DB-5")
async def test_operator_reads_totals_and_directory_but_no_content(world: World) -> None:
    readable = {
        "tenants", "operators", "operator_keys", "usage_events", "price_versions", "prices",
        "budget_plans", "budgets", "budget_leases", "complexity_weights", "job_shares",
    }  # fmt: skip
    async with statements_as(world.cluster, world.database, "operator") as statements:
        tables = await statements.rows(
            b"SELECT tablename AS name FROM pg_tables WHERE schemaname = 'tenantry'"
        )
        refused = set()
        for table in tables:
            try:
                await statements.rows(f"SELECT * FROM tenantry.{table['name']}".encode())
            except psycopg.errors.InsufficientPrivilege:
                refused.add(table["name"])
    assert {t["name"] for t in tables} - refused == readable
    assert len(refused) >= 15


@pytest.mark.req("DB-5")
@pytest.mark.parametrize("role", ["auth", "audit", "operator", "breakglass", "app"])
async def test_no_role_can_become_another(world: World, role: str) -> None:
    allowed = {"app": {"tenantry_tenant"}}
    async with statements_as(world.cluster, world.database, role) as statements:
        for other in ("owner", "tenant", "app", "auth", "audit", "operator", "breakglass"):
            name = f"tenantry_{other}"
            if other == role or name in allowed.get(role, set()):
                continue
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await statements.execute(f"SET ROLE {name}".encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await statements.execute(b"SET ROLE postgres")
