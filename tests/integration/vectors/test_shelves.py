"""Promotion and demotion: online, exact throughout, and nobody else's."""

import asyncio
from uuid import UUID

import numpy as np
import psycopg
import pytest
from psycopg.rows import dict_row

from tenantry.core.errors import TenantryError
from tenantry.core.ids import TenantId
from tenantry.db.queries import load
from tenantry.isolation.policies import check_policies
from tenantry.vectors.base import Filter, Near
from tenantry.vectors.shelves import Shelves
from tests.integration.vectors.stock import DIMENSION, VERSION, Held, Stock
from tests.worlds import World

_SQL = load("tenantry.vectors")


@pytest.fixture
async def stock(world: World) -> Stock:
    """Both tenants with 90 passages, enough for an index of their own."""
    stock = Stock(world)
    for held in (stock.acme, stock.globex):
        for number in range(30):
            await stock.add(held, 3, "text/html" if number % 10 == 0 else "text/plain")
    return stock


def _same(found: list[Near], expected: list[float]) -> bool:
    distances = [near.distance for near in found]
    return len(found) == len(expected) and np.allclose(distances, expected, atol=2e-3)


async def _state(stock: Stock, held: Held) -> list[str]:
    async with stock.world.db.tenant(held.ctx) as tx:
        return [row["state"] for row in await tx.rows(_SQL["shelves"])]


@pytest.mark.req("VEC-1", "VEC-2")
async def test_a_tenant_is_promoted_step_by_step_and_searched_alike_at_each(stock: Stock) -> None:
    asked = stock.unit(1)[0]
    seen = []
    for _ in range(2000):
        state = await stock.tend(stock.acme)
        seen.append(state)
        found = await stock.search(stock.acme, 20, asked)
        assert _same(found, stock.expected(stock.acme, 20, asked))
        if state == "ready":
            break
    assert list(dict.fromkeys(seen)) == ["opened", "settling", "ready"]
    assert stock.shelf_rows() == [(stock.acme.ctx.tenant, 90)]


@pytest.mark.req("VEC-1", "DB-1")
async def test_the_path_on_a_shelf_is_its_own_index_under_the_policy(stock: Stock) -> None:
    await stock.promote(stock.acme)
    await stock.promote(stock.globex)
    async with stock.world.db.tenant(stock.acme.ctx) as tx:
        (shelf,) = await tx.rows(_SQL["shelves"])
    for filters in ("NULL, NULL, NULL, NULL", "NULL, '{text/html}', NULL, NULL"):
        plan = _plan(stock, stock.acme, shelf["shelf"], filters)
        assert f"Index Scan using chunk_vectors_{shelf['shelf']}_nearest" in plan
        assert "current_tenant" in plan or "InitPlan" in plan  # the policy is in it
        # Neither another shelf, nor a sort, nor a pass over anything whole.
        others = [line for line in plan.splitlines() if "chunk_vectors_" in line]
        assert all(f"chunk_vectors_{shelf['shelf']}" in line for line in others)
        assert "Sort" not in plan
        assert "Seq Scan" not in plan


def _plan(stock: Stock, held: Held, shelf: int, filters: str) -> str:
    """The plan of the statement of a search on a shelf, as it runs in a tenant's transaction."""
    world, vector = stock.world, "[" + ",".join(["0.5"] * DIMENSION) + "]"
    with world.admin() as admin:
        text = admin.execute("SELECT tenantry.shelf_statement(%s, %s)", [shelf, DIMENSION])
        statement = str((text.fetchone() or [""])[0])
        settings = admin.execute(
            "SELECT unnest(proconfig) FROM pg_proc WHERE proname = 'nearest_on_shelf'"
        ).fetchall()
        admin.execute("BEGIN; SET LOCAL ROLE tenantry_tenant")
        expires = int(world.clock.now().timestamp()) + 60
        token = world.cluster.signer.token(held.ctx, admin.info.backend_pid, expires)
        admin.execute("SELECT set_config('tenantry.context', %s, true)", [token])
        for (setting,) in settings:
            name, _, value = setting.partition("=")
            admin.execute("SELECT set_config(%s, %s, true)", [name, value])
        types = "extensions.halfvec, integer, integer, uuid[], text[], timestamptz, timestamptz"
        admin.execute(f"PREPARE search ({types}) AS {statement}".encode())
        with psycopg.ClientCursor(admin, row_factory=dict_row) as cursor:
            cursor.execute(
                f"EXPLAIN (COSTS OFF) EXECUTE search ('{vector}', 10, {VERSION}, {filters})"
            )
            return "\n".join(row["QUERY PLAN"] for row in cursor.fetchall())


@pytest.mark.req("VEC-2")
@pytest.mark.parametrize("most", [1, 8, 9, 90, 200])
async def test_a_filter_loses_no_row_of_a_promoted_tenant(stock: Stock, most: int) -> None:
    await stock.promote(stock.acme)
    some = tuple(list(stock.acme.vectors)[4:9])
    for where in (
        Filter(),
        Filter(media_types=("text/html",)),
        Filter(document_ids=some),
        Filter(document_ids=some, media_types=("text/html",)),
        Filter(document_ids=()),
        Filter(document_ids=tuple(stock.globex.vectors)),
    ):
        asked = stock.unit(1)[0]
        found = await stock.search(stock.acme, most, asked, where)
        assert _same(found, stock.expected(stock.acme, most, asked, where)), where


@pytest.mark.req("VEC-1", "VEC-2")
async def test_what_is_written_while_an_index_is_made_is_in_it(stock: Stock) -> None:
    held, gone = stock.acme, list(stock.acme.vectors)
    await stock.add(held, 2)
    assert await stock.tend(held) == "opened"
    await stock.remove(held, gone[0])
    added = await stock.add(held, 4)
    while (state := await stock.tend(held)) != "ready":
        assert state == "settling"
    await stock.remove(held, gone[1])
    await stock.add(held, 5)
    await stock.remove(held, added)
    total = sum(map(len, held.vectors.values()))
    assert stock.shelf_rows() == [(held.ctx.tenant, total)]
    asked = stock.unit(1)[0]
    found = await stock.search(held, total + 1, asked)
    assert _same(found, stock.expected(held, total + 1, asked))


@pytest.mark.req("VEC-1")
async def test_a_writer_that_began_before_the_index_is_waited_for(stock: Stock) -> None:
    held, first = stock.acme, next(iter(stock.acme.vectors))
    async with stock.world.db.tenant(held.ctx) as tx:
        # Its trigger found no shelf; it ends only after the shelf was opened.
        await tx.execute(load("tenantry.knowledge")["delete_document"], document_id=first)
        assert await stock.tend(held) == "opened"
        assert [await stock.tend(held) for _ in range(3)] == ["settling"] * 3
    del held.vectors[first]
    await stock.promote(held)
    assert stock.shelf_rows() == [(held.ctx.tenant, 87)]


@pytest.mark.req("VEC-1", "VEC-2")
async def test_searches_meanwhile_see_no_error_and_no_missing_row(stock: Stock) -> None:
    asked, done = stock.unit(20), asyncio.Event()
    expected = [stock.expected(stock.acme, 10, one) for one in asked]
    looked = 0

    async def look() -> None:
        nonlocal looked
        while not done.is_set():
            for one, distances in zip(asked, expected, strict=True):
                assert _same(await stock.search(stock.acme, 10, one), distances)
                looked += 1

    async def move() -> None:
        for _ in range(3):
            await stock.promote(stock.acme)
            async with stock.world.db.tenant(stock.acme.ctx) as tx:
                await tx.value(_SQL["retire_shelf"], version=VERSION)
            while await stock.tend(stock.acme) == "retired":
                pass
        done.set()

    await asyncio.gather(look(), look(), move())
    assert looked > 20


@pytest.mark.req("VEC-1")
async def test_between_the_thresholds_a_tenant_stays_as_it_is(stock: Stock) -> None:
    held = stock.acme
    await stock.promote(held)
    documents = list(held.vectors)
    for document_id in documents[:15]:  # 45 passages are left: under 60, not under 30
        await stock.remove(held, document_id)
    assert await stock.tend(held) == "ready"
    for document_id in documents[15:21]:  # 27
        await stock.remove(held, document_id)
    assert await stock.tend(held) == "retired"
    assert await stock.tend(held) is None
    for _ in range(6):  # 45 again
        await stock.add(held, 3)
    assert await stock.tend(held) is None
    assert await _state(stock, held) == []


@pytest.mark.req("VEC-1", "VEC-2")
async def test_a_shelf_given_up_is_emptied_and_serves_the_next_tenant(stock: Stock) -> None:
    await stock.promote(stock.acme)
    for document_id in list(stock.acme.vectors)[:25]:
        await stock.remove(stock.acme, document_id)
    assert [await stock.tend(stock.acme) for _ in range(2)] == ["retired", None]
    assert stock.shelf_rows() == []
    await stock.promote(stock.globex)
    with stock.world.admin() as admin:
        count = "SELECT count(*) FROM pg_class WHERE relispartition AND relkind = 'r'"
        assert admin.execute(count).fetchone() == (1,)
    asked = stock.unit(1)[0]
    for held in (stock.acme, stock.globex):
        assert _same(await stock.search(held, 10, asked), stock.expected(held, 10, asked))


@pytest.mark.req("VEC-1")
async def test_a_build_that_was_interrupted_is_made_anew(stock: Stock) -> None:
    held = stock.acme
    await stock.tend(held)
    await stock.tend(held)

    async def build_and_fail() -> None:
        async with stock.world.db.tenant(held.ctx) as tx:
            while await tx.value(_SQL["advance_shelf"], version=VERSION) != "ready":
                pass
            raise TenantryError

    with pytest.raises(TenantryError):
        await build_and_fail()
    assert await _state(stock, held) == ["settling"]
    await stock.promote(held)
    assert stock.shelf_rows() == [(held.ctx.tenant, 90)]


@pytest.mark.req("VEC-1", "DB-1")
async def test_every_rule_of_isolation_holds_for_the_shelves_too(stock: Stock) -> None:
    await stock.promote(stock.acme)
    await stock.promote(stock.globex)
    async with stock.world.operator_db.transaction() as statements:
        assert await check_policies(statements) == []


@pytest.mark.req("VEC-2", "SEC-4")
async def test_a_neighbours_shelf_is_closed_by_number_and_by_name(stock: Stock) -> None:
    await stock.promote(stock.globex)
    theirs = await _numbers(stock, stock.globex)
    async with stock.world.db.tenant(stock.acme.ctx) as tx:
        assert await tx.value(b"SELECT count(*) FROM tenantry.chunk_vectors") == 0
        assert (
            await tx.rows(
                _SQL["nearest_on_shelf"],
                shelf=theirs[0],
                dimension=DIMENSION,
                embedding="[" + ",".join(["1"] * DIMENSION) + "]",
                most=10,
                version=VERSION,
                **Filter().parameters(),
            )
            == []
        )
        for function in ("advance_shelf", "retire_shelf", "free_shelf"):
            assert not await tx.value(_SQL[function], version=VERSION)
    for statement in (
        f"SELECT * FROM tenantry.chunk_vectors_{theirs[0]}",
        "INSERT INTO tenantry.chunk_vectors SELECT tenant_id, 1, document_id, 0, '[1]'"
        " FROM tenantry.documents",
        "DELETE FROM tenantry.chunk_vectors",
        "UPDATE tenantry.vector_shelves SET shelf = 1",
        "INSERT INTO tenantry.vector_shelves (tenant_id, version, shelf, dimension, state)"
        " SELECT tenant_id, 1, 1, 3, 'ready'"
        " FROM tenantry.documents LIMIT 1",
        "SELECT * FROM tenantry_private.shelf_slots",
        "SELECT tenantry_private.take_shelf()",
    ):
        with pytest.raises(TenantryError):
            async with stock.world.db.tenant(stock.acme.ctx) as tx:
                await tx.execute(statement.encode())
    assert stock.shelf_rows() == [(stock.globex.ctx.tenant, 90)]


@pytest.mark.req("VEC-2", "SEC-4")
async def test_the_catalogue_does_not_tell_whose_a_shelf_is(stock: Stock) -> None:
    await stock.promote(stock.globex)
    secret = str(TenantId(stock.globex.ctx.tenant))
    async with stock.world.db.tenant(stock.acme.ctx) as tx:
        told = await tx.rows(
            b"SELECT c.oid::regclass::text, pg_get_expr(c.relpartbound, c.oid),"
            b"       obj_description(c.oid), x.indpred::text"
            b"  FROM pg_class AS c LEFT JOIN pg_index AS x ON x.indexrelid = c.oid"
            b" WHERE c.relname LIKE 'chunk_vectors%%'"
        )
        samples = await tx.value(
            b"SELECT count(*) FROM pg_stats WHERE tablename LIKE 'chunk_vectors%%'"
        )
    assert len(told) >= 4
    assert samples == 0
    assert secret not in str(told)
    assert secret.replace("-", "") not in str(told)


@pytest.mark.req("VEC-2", "DB-1")
async def test_the_policy_alone_keeps_a_neighbours_shelf_closed(stock: Stock) -> None:
    await stock.promote(stock.globex)
    (theirs,) = await _numbers(stock, stock.globex)
    with stock.world.admin() as admin:
        for table in ("documents", "chunk_vectors", "vector_shelves"):
            admin.execute(f"ALTER TABLE tenantry.{table} DISABLE ROW LEVEL SECURITY".encode())
    async with stock.world.db.tenant(stock.acme.ctx) as tx:
        found = await tx.rows(
            _SQL["nearest_on_shelf"],
            shelf=theirs,
            dimension=DIMENSION,
            embedding="[" + ",".join(["1"] * DIMENSION) + "]",
            most=10,
            version=VERSION,
            **Filter().parameters(),
        )
    # With the guard off the neighbour's rows are found: it was the policy that held them back.
    assert {row["document_id"] for row in found} <= set(stock.globex.vectors)
    assert len(found) == 10


@pytest.mark.req("VEC-1")
async def test_two_processes_that_tend_at_once_make_one_index(stock: Stock) -> None:
    other = Shelves(stock.world.db, stock.world.audit, stock.shelves.thresholds)
    ctx = stock.acme.ctx
    for _ in range(2000):
        states = await asyncio.gather(
            *(one.tend(ctx, VERSION, DIMENSION) for one in (stock.shelves, other))
        )
        if "ready" in states:
            break
    assert await _state(stock, stock.acme) == ["ready"]
    assert stock.shelf_rows() == [(ctx.tenant, 90)]
    events = await stock.world.audit_events(ctx)
    assert [e["action"] for e in events].count("vectors.promoted") == 1


async def _numbers(stock: Stock, held: Held) -> list[int]:
    async with stock.world.db.tenant(held.ctx) as tx:
        return [row["shelf"] for row in await tx.rows(_SQL["shelves"])]


@pytest.mark.req("VEC-2")
async def test_an_empty_answer_of_an_index_is_never_believed(stock: Stock) -> None:
    await stock.promote(stock.acme)
    with stock.world.admin() as admin:  # as if it were freed between two statements
        (number,) = await _numbers(stock, stock.acme)
        admin.execute(f"TRUNCATE tenantry.chunk_vectors_{number}".encode())
    asked = stock.unit(1)[0]
    found = await stock.search(stock.acme, 10, asked)
    assert _same(found, stock.expected(stock.acme, 10, asked))
    assert all(isinstance(near.document_id, UUID) for near in found)
