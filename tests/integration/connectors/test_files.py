"""Queries over a tenant's files, and every way in which one could reach its neighbour's."""

import asyncio
import os
import shutil
import signal
from pathlib import Path

import orjson
import pytest

from tenantry.connectors.base import QueryLimits
from tenantry.connectors.catalog import NewConnector
from tenantry.connectors.file_store import TableUpload
from tenantry.core.errors import (
    BoundaryCrossed,
    NotFound,
    QueryFailed,
    QueryRefused,
    QueryTimeout,
)
from tests.integration.connectors.conftest import ORDERS, Shelf

_LIMITS = QueryLimits()
_ENDLESS = (
    "SELECT count(*) FROM range(1000000) AS a, range(1000000) AS b WHERE a.range * b.range % 7 = 9"
)


async def _refused(shelf: Shelf, action: str) -> list[dict[str, object]]:
    events = await shelf.world.audit_events(shelf.world.acme)
    return [event for event in events if event["action"] == action]


@pytest.mark.req("CON-1")
async def test_a_query_gives_the_tenants_own_rows(shelf: Shelf) -> None:
    source = await shelf.source(shelf.world.acme)
    result = await source.query(
        "select carrier, count(*) as n, avg(delay) as delay from flights"
        " group by 1 order by 2 desc",
        _LIMITS,
    )
    assert result.columns == ("carrier", "n", "delay")
    assert result.rows == (("UA", 2, 2.0), ("AA", 1, 30.0))
    assert result.sql == (
        "SELECT carrier, COUNT(*) AS n, AVG(delay) AS delay FROM flights GROUP BY 1 "
        "ORDER BY 2 DESC LIMIT 501"
    )
    assert not result.truncated
    assert result.size_bytes == len(orjson.dumps(result.rows))


@pytest.mark.req("CON-2")
async def test_tables_are_described_with_types_rows_and_meanings(shelf: Shelf) -> None:
    (table,) = await (await shelf.source(shelf.world.acme)).describe()
    assert (table.name, table.rows, table.description) == ("flights", 3, "Departures.")
    assert [(c.name, c.type, c.description) for c in table.columns] == [
        ("day", "DATE", ""),
        ("carrier", "VARCHAR", ""),
        ("origin", "VARCHAR", ""),
        ("delay", "BIGINT", "minutes"),
        ("fare", "DOUBLE", ""),
    ]
    (neighbours,) = await (await shelf.source(shelf.world.globex)).describe()
    assert neighbours.name == "orders"


@pytest.mark.req("CON-1")
async def test_values_arrive_as_json_that_loses_nothing(shelf: Shelf) -> None:
    source = await shelf.source(shelf.world.acme)
    result = await source.query(
        "SELECT DATE '2013-01-02' AS d, TIMESTAMP '2013-01-02 03:04:05.5' AS t,"
        " 1.10::DECIMAL(9, 2), 'NaN'::DOUBLE, '-inf'::DOUBLE, 0.1::FLOAT,"
        " 9007199254740991, 9007199254740992,"
        " 170141183460469231731687303715884105727::HUGEINT, NULL, true, [1, 2], {'a': 'x'},"
        " INTERVAL 3 DAY, '\\xAA'::BLOB, TIMESTAMPTZ '2020-01-01 00:00:00+02'",
        _LIMITS,
    )
    assert result.rows == (
        (
            "2013-01-02", "2013-01-02 03:04:05.5", "1.10", "NaN", "-Infinity", 0.1,
            9007199254740991, "9007199254740992", "170141183460469231731687303715884105727",
            None, True, [1, 2], {"a": "x"}, "3 days", "\\xAA", "2019-12-31 22:00:00+00",
        ),
    )  # fmt: skip


@pytest.mark.req("CON-3", "SEC-4")
@pytest.mark.parametrize(
    ("statement", "subject"),
    [
        ("SELECT * FROM orders", "orders"),
        ("SELECT * FROM globex.orders", "globex.orders"),
        ("SELECT * FROM flights JOIN orders ON true", "orders"),
        ("WITH orders AS (SELECT * FROM orders) SELECT * FROM orders", "orders"),
        ("SELECT * FROM read_parquet('x')", "read_parquet"),
        ("ATTACH 'x'", "ATTACH"),
    ],
)
async def test_a_query_outside_the_scope_is_refused_and_audited_with_what_it_named(
    shelf: Shelf, statement: str, subject: str
) -> None:
    source = await shelf.source(shelf.world.acme)
    with pytest.raises(QueryRefused):
        await source.query(statement, _LIMITS)
    (event,) = await _refused(shelf, "query.refused")
    assert (event["outcome"], event["layer"]) == ("refused", "connector")
    assert subject in str(event["detail"])
    neighbours = await shelf.world.audit_events(shelf.world.globex)
    assert [e["action"] for e in neighbours] == ["connector.created", "table.added"]


@pytest.mark.req("CON-3")
async def test_a_mistake_is_answered_but_not_audited(shelf: Shelf) -> None:
    source = await shelf.source(shelf.world.acme)
    with pytest.raises(QueryRefused, match="could not be read"):
        await source.query("SELECT carrier FROM WHERE", _LIMITS)
    with pytest.raises(QueryFailed, match=r'column "career" not found'):
        await source.query("SELECT career FROM flights", _LIMITS)
    assert await _refused(shelf, "query.refused") == []


@pytest.mark.req("CON-3")
async def test_the_neighbours_file_is_not_reached_by_its_path(shelf: Shelf) -> None:
    theirs = shelf.path(shelf.world.globex, shelf.orders)
    assert theirs.is_file()
    source = await shelf.source(shelf.world.acme)
    for name in (
        str(theirs),
        os.path.relpath(theirs, shelf.path(shelf.world.acme, shelf.flights).parent),
        f"../{shelf.world.globex.tenant}/{theirs.name}",
        "/dev/fd/3",
        "/proc/self/fd/3",
    ):
        with pytest.raises(QueryRefused, match="There is no table"):
            await source.query(f"SELECT * FROM '{name}'", _LIMITS)
        with pytest.raises(QueryRefused, match="read_parquet is not available"):
            await source.query(f"SELECT * FROM read_parquet('{name}')", _LIMITS)


@pytest.mark.req("CON-3", "SEC-4")
async def test_a_symbolic_link_in_place_of_the_file_is_refused_and_audited(shelf: Shelf) -> None:
    own = shelf.path(shelf.world.acme, shelf.flights)
    own.unlink()
    own.symlink_to(shelf.path(shelf.world.globex, shelf.orders))
    await _assert_boundary_kept(shelf, "not a plain file of ours")


@pytest.mark.req("CON-3", "SEC-4")
async def test_a_hard_link_to_the_neighbours_file_is_refused_and_audited(shelf: Shelf) -> None:
    own = shelf.path(shelf.world.acme, shelf.flights)
    own.unlink()
    os.link(shelf.path(shelf.world.globex, shelf.orders), own)
    await _assert_boundary_kept(shelf, "content changed")


@pytest.mark.req("CON-3", "SEC-4")
async def test_a_copy_of_the_neighbours_file_is_refused_and_audited(shelf: Shelf) -> None:
    own = shelf.path(shelf.world.acme, shelf.flights)
    shutil.copyfile(shelf.path(shelf.world.globex, shelf.orders), own)
    await _assert_boundary_kept(shelf, "content changed")


@pytest.mark.req("CON-3", "SEC-4")
async def test_a_link_in_place_of_the_tenants_folder_is_refused_and_audited(shelf: Shelf) -> None:
    folder = shelf.root / str(shelf.world.acme.tenant)
    shutil.rmtree(folder)
    folder.symlink_to(shelf.root / str(shelf.world.globex.tenant))
    _point_at_neighbours_content(shelf)
    await _assert_boundary_kept(shelf, "not a plain file of ours")


@pytest.mark.req("CON-3", "SEC-4")
async def test_a_forged_row_finds_nothing_and_is_audited(shelf: Shelf) -> None:
    _point_at_neighbours_content(shelf)
    source = await shelf.source(shelf.world.acme)
    with pytest.raises(QueryFailed, match="missing"):
        await source.query("SELECT * FROM flights", _LIMITS)
    (event,) = await _refused(shelf, "file.refused")
    assert event["detail"] == {"connector": "data", "table": "flights", "defect": "missing"}


def _point_at_neighbours_content(shelf: Shelf) -> None:
    forge = "UPDATE tenantry.data_files SET stored_sha256 = %s WHERE tenant_id = %s"
    with shelf.world.admin() as admin:
        admin.execute(forge, [shelf.orders.stored_sha256, shelf.world.acme.tenant])


async def _assert_boundary_kept(shelf: Shelf, defect: str) -> None:
    source = await shelf.source(shelf.world.acme)
    with pytest.raises(BoundaryCrossed) as refused:
        await source.query("SELECT * FROM flights", _LIMITS)
    assert "Canary" not in str(refused.value)
    (event,) = await _refused(shelf, "file.refused")
    assert event["detail"] == {"connector": "data", "table": "flights", "defect": defect}
    theirs = await (await shelf.source(shelf.world.globex)).query("SELECT * FROM orders", _LIMITS)
    assert theirs.rows[0][1] == "Globex Canary"


@pytest.mark.req("CON-3")
async def test_a_file_that_changed_after_it_was_seen_is_looked_at_again(shelf: Shelf) -> None:
    source = await shelf.source(shelf.world.acme)
    await source.query("SELECT * FROM flights", _LIMITS)
    own = shelf.path(shelf.world.acme, shelf.flights)
    content = bytearray(own.read_bytes())
    content[-20] ^= 1
    own.write_bytes(bytes(content))
    with pytest.raises(BoundaryCrossed):
        await source.query("SELECT * FROM flights", _LIMITS)


@pytest.mark.req("CON-3")
async def test_a_file_that_others_may_read_is_refused(shelf: Shelf) -> None:
    shelf.path(shelf.world.acme, shelf.flights).chmod(0o644)
    source = await shelf.source(shelf.world.acme)
    with pytest.raises(BoundaryCrossed):
        await source.query("SELECT * FROM flights", _LIMITS)


@pytest.mark.req("CON-3")
async def test_a_connector_of_another_tenant_is_as_unknown_as_one_that_does_not_exist(
    shelf: Shelf,
) -> None:
    world = shelf.world
    await shelf.catalog.create(world.globex, NewConnector("secrets", "files"))
    with pytest.raises(NotFound) as foreign:
        await shelf.catalog.open(world.acme, "secrets")
    with pytest.raises(NotFound) as unknown:
        await shelf.catalog.open(world.acme, "nothing")
    assert str(foreign.value) == str(unknown.value)
    with pytest.raises(NotFound):
        await shelf.files.list_tables(world.acme, shelf.globex_data.connector)
    upload = TableUpload("planted", b"a\n1\n")
    with pytest.raises(NotFound):
        await shelf.files.add(world.acme, shelf.globex_data.connector, upload)
    with pytest.raises(NotFound):
        await shelf.files.remove(world.acme, shelf.globex_data.connector, "orders")
    assert len(await shelf.files.list_tables(world.globex, shelf.globex_data.connector)) == 1


@pytest.mark.req("CON-3")
@pytest.mark.parametrize("max_rows", [1, 2, 3])
async def test_rows_beyond_the_ceiling_are_cut_and_said_to_be(shelf: Shelf, max_rows: int) -> None:
    source = await shelf.source(shelf.world.acme)
    result = await source.query(
        "SELECT day FROM flights ORDER BY day LIMIT 99", QueryLimits(max_rows=max_rows)
    )
    assert len(result.rows) == max_rows
    assert result.truncated == (max_rows < 3)
    assert result.sql.endswith(f"LIMIT {max_rows + 1}")


@pytest.mark.req("CON-3")
async def test_bytes_beyond_the_ceiling_are_cut_exactly(shelf: Shelf) -> None:
    source = await shelf.source(shelf.world.acme)
    statement = "SELECT range AS n, lpad('x', (range * 100)::INTEGER, 'y') AS s FROM range(50)"
    whole = await source.query(statement, _LIMITS)
    assert not whole.truncated
    exact = await source.query(statement, QueryLimits(max_bytes=whole.size_bytes))
    assert exact.rows == whole.rows
    assert not exact.truncated
    cut = await source.query(statement, QueryLimits(max_bytes=whole.size_bytes - 1))
    assert cut.rows == whole.rows[:-1]
    assert cut.truncated


@pytest.mark.req("CON-3")
async def test_a_row_larger_than_everything_allowed_is_cut_without_being_kept(shelf: Shelf) -> None:
    source = await shelf.source(shelf.world.acme)
    statement = "SELECT lpad('x', n, 'y') AS s FROM (VALUES (5), (30000000)) AS v(n)"
    result = await source.query(statement, QueryLimits(max_bytes=1_000))
    assert result.rows == (("yyyyx",),)
    assert result.truncated
    assert result.size_bytes <= 1_000


@pytest.mark.req("CON-3")
async def test_a_query_that_takes_too_much_memory_fails_alone(shelf: Shelf) -> None:
    source = await shelf.source(shelf.world.acme)
    with pytest.raises(QueryFailed, match="memory"):
        await source.query(
            "SELECT lpad('x', 2000000, 'y') AS s FROM range(5000) ORDER BY s", _LIMITS
        )
    assert (await source.query("SELECT 1", _LIMITS)).rows == ((1,),)


@pytest.mark.req("CON-3")
async def test_a_query_that_takes_too_long_is_killed(shelf: Shelf) -> None:
    source = await shelf.source(shelf.world.acme)
    before = _children()
    with pytest.raises(QueryTimeout, match=r"0\.5 seconds"):
        await source.query(_ENDLESS, QueryLimits(timeout_s=0.5))
    assert len(_children() - before) <= 1  # the spare one for the next query


@pytest.mark.req("CON-3")
async def test_a_cancelled_query_is_killed(shelf: Shelf) -> None:
    source = await shelf.source(shelf.world.acme)
    await source.query("SELECT 1", _LIMITS)
    task = asyncio.create_task(source.query(_ENDLESS, _LIMITS))
    busy = await _busy_child()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not Path(f"/proc/{busy}").exists()


@pytest.mark.req("CON-3")
async def test_a_process_killed_in_the_middle_of_a_query_is_a_clear_failure(shelf: Shelf) -> None:
    source = await shelf.source(shelf.world.acme)
    task = asyncio.create_task(source.query(_ENDLESS, _LIMITS))
    os.kill(await _busy_child(), signal.SIGKILL)
    with pytest.raises(QueryFailed, match="ended before it was done"):
        await task
    assert (await source.query("SELECT 1", _LIMITS)).rows == ((1,),)


@pytest.mark.req("CON-3")
async def test_one_tenant_never_has_all_the_processes(shelf: Shelf) -> None:
    acme, globex = await shelf.source(shelf.world.acme), await shelf.source(shelf.world.globex)
    heavy = [
        asyncio.create_task(acme.query(_ENDLESS, QueryLimits(timeout_s=30))) for _ in range(12)
    ]
    await _busy_child()
    result = await globex.query("SELECT count(*) FROM orders", QueryLimits(timeout_s=20))
    assert result.rows == ((2,),)
    for task in heavy:
        task.cancel()
    await asyncio.gather(*heavy, return_exceptions=True)


@pytest.mark.req("CON-3")
async def test_a_process_serves_one_query_only(shelf: Shelf) -> None:
    acme, globex = await shelf.source(shelf.world.acme), await shelf.source(shelf.world.globex)
    seen = set()
    for source in (acme, globex, acme, globex):
        seen.add(frozenset(_children()))
        await source.query("SELECT 1", _LIMITS)
    spare = _children()
    await globex.query("SELECT 1", _LIMITS)
    assert not spare & _children()


@pytest.mark.req("CON-2")
async def test_a_source_can_be_tested_and_says_what_is_wrong(shelf: Shelf) -> None:
    source = await shelf.source(shelf.world.acme)
    await source.test()
    shelf.path(shelf.world.acme, shelf.flights).unlink()
    with pytest.raises(QueryFailed, match="flights is missing"):
        await source.test()


@pytest.mark.req("CON-3")
async def test_a_query_opens_only_the_files_it_names(shelf: Shelf) -> None:
    upload = TableUpload("orders", ORDERS)
    added = await shelf.files.add(shelf.world.acme, shelf.acme_data.connector, upload)
    shelf.path(shelf.world.acme, added).unlink()
    source = await shelf.source(shelf.world.acme)
    assert (await source.query("SELECT count(*) FROM flights", _LIMITS)).rows == ((3,),)


def _children() -> set[int]:
    task = Path(f"/proc/{os.getpid()}/task")
    found = {int(p) for t in task.iterdir() for p in (t / "children").read_text().split()}
    return {p for p in found if b"duckdb_child" in Path(f"/proc/{p}/cmdline").read_bytes()}


async def _busy_child() -> int:
    """A child that has used processor time beyond its start."""
    while True:
        for child in _children():
            fields = Path(f"/proc/{child}/stat").read_text().rsplit(") ", 1)[1].split()
            if int(fields[11]) + int(fields[12]) > 60:  # clock ticks of 10 ms
                return child
        await asyncio.sleep(0.02)
