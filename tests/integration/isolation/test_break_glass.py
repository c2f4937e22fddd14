"""Break-glass: one tenant, read only, for a reason, for a while, and always on record (DB-5)."""

import hashlib
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import psycopg
import pytest

from tenantry.core.errors import Forbidden, InvalidRequest, NotFound, TenantryError
from tenantry.core.ids import TenantId, new_id
from tenantry.db.pool import RolePool
from tenantry.isolation.break_glass import BreakGlass, BreakGlassGrant
from tenantry.isolation.declared import BREAK_GLASS_TABLES
from tests.isolation.conftest import statements_as
from tests.worlds import World

REASON = "Ticket 4711: the tenant asks why an answer was cut"
NAMES = b"SELECT external_id FROM tenantry.members"


@pytest.fixture
async def readers(world: World) -> AsyncIterator[RolePool]:
    pool = RolePool(
        world.cluster.url(world.database),
        "tenantry_breakglass",
        world.cluster.secrets.breakglass_password,
        2,
    )
    await pool.open()
    yield pool
    await pool.close()


@pytest.fixture
def glass(world: World, readers: RolePool) -> BreakGlass:
    return BreakGlass(world.operator_db, readers)


@pytest.fixture
def operator(world: World) -> UUID:
    operator = new_id()
    with world.admin() as admin:
        admin.execute(
            "INSERT INTO tenantry.operators (operator_id, name) VALUES (%s, 'Olga')", [operator]
        )
    return operator


@pytest.fixture
async def grant(glass: BreakGlass, operator: UUID, world: World) -> BreakGlassGrant:
    return await glass.open(operator, world.acme.tenant, REASON, 30, "req-open")


def _age(world: World, minutes: int) -> None:
    """Let every grant and session be older by `minutes`."""
    with world.admin() as admin:
        for table in ("break_glass_grants", "break_glass_sessions"):
            admin.execute(
                f"UPDATE tenantry.{table} SET opened_at = opened_at - make_interval(mins => %s),"
                " expires_at = expires_at - make_interval(mins => %s)",
                [minutes, minutes],
            )


@pytest.mark.req("DB-5")
async def test_grant_reads_its_tenant_and_never_the_neighbour(
    world: World, glass: BreakGlass, grant: BreakGlassGrant
) -> None:
    with world.admin() as admin:
        everybody = admin.execute("SELECT count(*) FROM tenantry.members").fetchone()
    assert everybody == (2,)
    async with glass.read(grant.token) as reader:
        assert await reader.rows(NAMES) == [{"external_id": f"owner-{world.acme.member}"}]
        foreign = b"SELECT * FROM tenantry.members WHERE tenant_id = %(globex)s"
        assert await reader.rows(foreign, globex=world.globex.tenant) == []


@pytest.mark.req("DB-5")
@pytest.mark.parametrize("table", BREAK_GLASS_TABLES)
async def test_every_content_table_is_readable(
    glass: BreakGlass, grant: BreakGlassGrant, table: str
) -> None:
    async with glass.read(grant.token) as reader:
        await reader.rows(f"SELECT * FROM tenantry.{table}".encode())


@pytest.mark.req("DB-5")
@pytest.mark.parametrize(
    "statement",
    [
        b"INSERT INTO tenantry.members (tenant_id, member_id, external_id, role)"
        b" VALUES (gen_random_uuid(), gen_random_uuid(), 'x', 'owner')",
        b"UPDATE tenantry.members SET role = 'viewer'",
        b"DELETE FROM tenantry.members",
        b"TRUNCATE tenantry.members CASCADE",
        b"SELECT * FROM tenantry.api_keys",
        b"SELECT * FROM tenantry.operator_keys",
        b"SELECT * FROM tenantry.break_glass_grants",
        b"SELECT * FROM tenantry.break_glass_sessions",
        b"SELECT * FROM tenantry_private.signing_keys",
        b"SELECT tenantry.open_break_glass(gen_random_uuid(), gen_random_uuid(), 'x', 1, '', '')",
        b"SELECT tenantry.append_audits('[]')",
        b"CREATE TEMP TABLE loot (x text)",
        b"SET ROLE tenantry_operator",
        b"SET ROLE tenantry_tenant",
    ],
)
async def test_grant_allows_nothing_but_reading_content(
    world: World, glass: BreakGlass, grant: BreakGlassGrant, statement: bytes
) -> None:
    with pytest.raises(TenantryError):
        async with glass.read(grant.token) as reader:
            await reader.execute(statement)
    with world.admin() as admin:
        assert admin.execute("SELECT count(*) FROM tenantry.members").fetchone() == (2,)


@pytest.mark.req("DB-5", "SEC-4")
async def test_opening_reading_and_closing_stand_in_the_tenants_own_chain(
    world: World, glass: BreakGlass, grant: BreakGlassGrant
) -> None:
    async with glass.read(grant.token, "req-read") as reader:
        during = await reader.rows(b"SELECT action FROM tenantry.audit_events ORDER BY seq")
    await glass.close(grant.id, grant.operator_id, "req-close")
    events = await world.audit_events(world.acme)
    assert [(e["action"], e["outcome"], e["request_id"]) for e in events] == [
        ("break_glass.opened", "allowed", "req-open"),
        ("break_glass.read", "allowed", "req-read"),
        ("break_glass.closed", "allowed", "req-close"),
    ]
    assert [d["action"] for d in during] == ["break_glass.opened", "break_glass.read"]
    assert {e["actor"] for e in events} == {f"operator:{grant.operator_id}"}
    assert events[0]["detail"] == {"grant": str(grant.id), "reason": REASON, "minutes": 30}
    assert await world.audit_events(world.globex) == []
    assert (await world.audit.verify()).defects == ()


@pytest.mark.req("DB-5", "SEC-4")
async def test_reading_that_fails_is_still_on_record(
    world: World, glass: BreakGlass, grant: BreakGlassGrant
) -> None:
    with pytest.raises(TenantryError):
        async with glass.read(grant.token) as reader:
            await reader.rows(b"SELECT 1 / 0")
    assert [e["action"] for e in await world.audit_events(world.acme)] == [
        "break_glass.opened",
        "break_glass.read",
    ]


@pytest.mark.req("DB-5")
async def test_expired_grant_is_refused_and_the_attempt_recorded(
    world: World, glass: BreakGlass, grant: BreakGlassGrant
) -> None:
    _age(world, 31)
    with pytest.raises(Forbidden, match="not open"):
        async with glass.read(grant.token):
            pytest.fail("an expired grant was let in")
    last = (await world.audit_events(world.acme))[-1]
    assert (last["action"], last["outcome"]) == ("break_glass.read", "refused")


@pytest.mark.req("DB-5")
@pytest.mark.parametrize("table", ["members", "messages"])
async def test_session_that_outlives_its_grant_is_an_error_never_empty(
    world: World, glass: BreakGlass, grant: BreakGlassGrant, table: str
) -> None:
    """`members` has rows, `messages` has none: both must refuse, also in a sequential scan."""
    query = f"SELECT * FROM tenantry.{table}".encode()

    async def outlive() -> None:
        async with glass.read(grant.token) as reader:
            await reader.execute(b"SET LOCAL enable_indexscan = off")
            await reader.execute(b"SET LOCAL enable_bitmapscan = off")
            await reader.rows(query)
            _age(world, 31)
            await reader.rows(query)

    with pytest.raises(Forbidden, match="not open"):
        await outlive()


@pytest.mark.req("DB-5")
async def test_session_lasts_five_minutes_at_most(
    world: World, glass: BreakGlass, grant: BreakGlassGrant
) -> None:
    async def linger() -> None:
        async with glass.read(grant.token) as reader:
            _age(world, 6)
            await reader.rows(NAMES)

    with pytest.raises(Forbidden):
        await linger()
    async with glass.read(grant.token) as reader:  # the grant itself goes on
        assert len(await reader.rows(NAMES)) == 1


@pytest.mark.req("DB-5")
async def test_closing_ends_a_session_that_is_reading(
    glass: BreakGlass, grant: BreakGlassGrant
) -> None:
    async def read_on() -> None:
        async with glass.read(grant.token) as reader:
            await reader.rows(NAMES)
            await glass.close(grant.id, grant.operator_id)
            await reader.rows(NAMES)

    with pytest.raises(Forbidden):
        await read_on()
    with pytest.raises(NotFound):
        await glass.close(grant.id, grant.operator_id)


@pytest.mark.req("DB-5")
async def test_unknown_token_is_refused_and_recorded_with_the_platform(
    world: World, glass: BreakGlass, grant: BreakGlassGrant
) -> None:
    with pytest.raises(Forbidden):
        async with glass.read("0" * 64):
            pytest.fail("a forged token was let in")
    (event,) = await world.audit.platform_events()
    assert (event["action"], event["outcome"]) == ("break_glass.read", "refused")


@pytest.mark.req("DB-5")
@pytest.mark.parametrize(
    ("reason", "minutes"),
    [(REASON, 0), (REASON, 61), (REASON, -5), ("", 10), ("          ", 10), ("too short", 10),
     ("x" * 501, 10)],
)  # fmt: skip
async def test_opening_needs_a_reason_and_a_limit(
    world: World, glass: BreakGlass, operator: UUID, reason: str, minutes: int
) -> None:
    with pytest.raises(InvalidRequest):
        await glass.open(operator, world.acme.tenant, reason, minutes)
    assert await world.audit_events(world.acme) == []


@pytest.mark.req("DB-5")
@pytest.mark.parametrize(("reason", "minutes"), [("short", 10), (REASON, 61), (REASON, 0)])
async def test_database_itself_holds_the_limits(
    world: World, operator: UUID, reason: str, minutes: int
) -> None:
    async with statements_as(world.cluster, world.database, "operator") as statements:
        with pytest.raises(psycopg.errors.CheckViolation):
            await statements.rows(
                b"SELECT tenantry.open_break_glass(%(o)s, %(t)s, %(r)s, %(m)s, %(d)s, '')",
                o=operator,
                t=world.acme.tenant,
                r=reason,
                m=minutes,
                d=hashlib.sha256(b"x").digest(),
            )


@pytest.mark.req("DB-5")
async def test_opening_for_nobody_or_by_nobody_is_refused(
    world: World, glass: BreakGlass, operator: UUID
) -> None:
    with pytest.raises(NotFound):
        await glass.open(operator, TenantId(uuid4()), REASON, 10)
    with pytest.raises(NotFound):
        await glass.open(uuid4(), world.acme.tenant, REASON, 10)
    assert await glass.list_grants(include_ended=True) == []


@pytest.mark.req("DB-5")
async def test_role_without_a_session_reads_nothing(world: World, grant: BreakGlassGrant) -> None:
    """Raw SQL as tenantry_breakglass: no session, a guessed one, the grant's id, its token."""
    async with statements_as(world.cluster, world.database, "breakglass") as statements:
        for setting in ("", str(uuid4()), str(grant.id), str(grant.tenant)):
            await statements.rows(
                b"SELECT set_config('tenantry.break_glass', %(s)s, false)", s=setting
            )
            with pytest.raises(psycopg.Error) as refused:
                await statements.rows(NAMES)
            assert refused.value.sqlstate == "TC003"


@pytest.mark.req("DB-5")
async def test_session_of_another_backend_is_worth_nothing(
    world: World, grant: BreakGlassGrant
) -> None:
    enter = b"SELECT tenantry.enter_break_glass(%(digest)s, '') AS session"
    digest = hashlib.sha256(grant.token.encode()).digest()
    use = b"SELECT set_config('tenantry.break_glass', %(s)s, false)"
    door = ("breakglass",)
    async with statements_as(world.cluster, world.database, *door) as mine:
        session = str(await mine.value(enter, digest=digest))
        await mine.rows(use, s=session)
        assert len(await mine.rows(NAMES)) == 1
        async with statements_as(world.cluster, world.database, *door) as other:
            await other.rows(use, s=session)
            with pytest.raises(psycopg.Error) as refused:
                await other.rows(NAMES)
    assert refused.value.sqlstate == "TC003"


@pytest.mark.req("DB-5")
async def test_operator_opens_but_reads_no_content(world: World, grant: BreakGlassGrant) -> None:
    async with statements_as(world.cluster, world.database, "operator") as statements:
        for query in (NAMES, b"SELECT token_digest FROM tenantry.break_glass_grants"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await statements.rows(query)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await statements.rows(b"SELECT tenantry.enter_break_glass('', '')")


@pytest.mark.req("DB-5")
async def test_tenant_sees_who_looked_and_why_and_operators_see_open_grants(
    world: World, glass: BreakGlass, grant: BreakGlassGrant
) -> None:
    seen = b"SELECT operator_id, reason FROM tenantry.break_glass_grants"
    async with world.db.tenant(world.acme) as tx:
        assert await tx.rows(seen) == [{"operator_id": grant.operator_id, "reason": REASON}]
    async with world.db.tenant(world.globex) as tx:
        assert await tx.rows(seen) == []
    assert [g["grant_id"] for g in await glass.list_grants()] == [grant.id]
    await glass.close(grant.id, grant.operator_id)
    assert await glass.list_grants() == []
    assert len(await glass.list_grants(include_ended=True)) == 1


@pytest.mark.req("DB-5")
async def test_token_is_neither_stored_nor_printed(world: World, grant: BreakGlassGrant) -> None:
    assert grant.token not in repr(grant)
    with world.admin() as admin:
        stored = admin.execute("SELECT g::text FROM tenantry.break_glass_grants AS g").fetchall()
    assert grant.token not in str(stored)
