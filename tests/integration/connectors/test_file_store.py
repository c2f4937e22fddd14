"""Files taken in as tables: read right, kept once, refused clearly, removed wholly."""

import asyncio
import gzip
import io
import os
from contextlib import suppress
from uuid import uuid4

import pytest

from tenantry.connectors.base import QueryLimits
from tenantry.connectors.file_store import TableUpload
from tenantry.core.errors import (
    Conflict,
    DocumentUnreadable,
    InvalidRequest,
    NotFound,
    StoreUnavailable,
    TooLarge,
)
from tests.integration.connectors.conftest import FLIGHTS, Shelf

_LIMITS = QueryLimits()


@pytest.mark.req("CON-1")
async def test_a_file_beyond_the_limit_is_refused_before_it_is_read(shelf: Shelf) -> None:
    upload = TableUpload("t", b"a\n" + b"1\n" * 1_000_001)
    with pytest.raises(TooLarge, match="2,000,000"):
        await shelf.files.add(shelf.world.acme, shelf.acme_data.connector, upload)


@pytest.mark.req("CON-1")
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), "neither CSV nor Parquet"),
        (b"a,b\n1,2\n3\n", "Line 3 has 1 fields where the first line names 2 columns"),
        (b"PAR1" + b"x" * 100 + b"PAR1", "Footer"),
    ],
)
async def test_a_file_that_is_no_table_is_refused_clearly_and_leaves_nothing(
    shelf: Shelf, content: bytes, problem: str
) -> None:
    before = _files(shelf)
    upload = TableUpload("t", content)
    with pytest.raises(DocumentUnreadable, match=problem):
        await shelf.files.add(shelf.world.acme, shelf.acme_data.connector, upload)
    assert _files(shelf) == before
    tables = await shelf.files.list_tables(shelf.world.acme, shelf.acme_data.connector)
    assert [known.table.name for known in tables] == ["flights"]


@pytest.mark.req("CON-1")
@pytest.mark.parametrize("name", ["", "Flights", "1st", "a b", "a-b", 'a"b', "../x", "x" * 64, "ä"])
async def test_a_name_that_is_none_for_a_table_is_refused(shelf: Shelf, name: str) -> None:
    upload = TableUpload(name, FLIGHTS)
    with pytest.raises(InvalidRequest, match="starts with a letter"):
        await shelf.files.add(shelf.world.acme, shelf.acme_data.connector, upload)


@pytest.mark.req("CON-1")
async def test_the_same_file_is_taken_once_and_another_of_its_name_not_at_all(shelf: Shelf) -> None:
    world, connector = shelf.world, shelf.acme_data.connector
    again = await shelf.files.add(world.acme, connector, TableUpload("flights", FLIGHTS))
    assert again == shelf.flights
    with pytest.raises(Conflict, match="remove it first"):
        await shelf.files.add(world.acme, connector, TableUpload("flights", b"a\n1\n"))
    assert len(await shelf.files.list_tables(world.acme, connector)) == 1


@pytest.mark.req("CON-1")
async def test_the_same_file_sent_twice_at_once_is_taken_once(shelf: Shelf) -> None:
    world, connector = shelf.world, shelf.acme_data.connector
    upload = TableUpload("t", b"a\n1\n")
    first, second = await asyncio.gather(
        shelf.files.add(world.acme, connector, upload),
        shelf.files.add(world.acme, connector, upload),
    )
    assert first == second
    assert len(await shelf.files.list_tables(world.acme, connector)) == 2


@pytest.mark.req("CON-1")
async def test_files_are_private_and_named_by_their_content(shelf: Shelf) -> None:
    path = shelf.path(shelf.world.acme, shelf.flights)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_size == shelf.flights.size_bytes
    assert _files(shelf) == {
        f"{shelf.world.acme.tenant}/{path.name}",
        f"{shelf.world.globex.tenant}/{shelf.path(shelf.world.globex, shelf.orders).name}",
    }


@pytest.mark.req("CON-1")
async def test_a_file_goes_with_the_last_table_that_needs_it(shelf: Shelf) -> None:
    world, connector = shelf.world, shelf.acme_data.connector
    twin = await shelf.files.add(world.acme, connector, TableUpload("twin", FLIGHTS))
    theirs = await shelf.files.add(
        world.globex, shelf.globex_data.connector, TableUpload("flights", FLIGHTS)
    )
    await shelf.files.remove(world.acme, connector, "flights")
    source = await shelf.source(world.acme)
    assert (await source.query("SELECT count(*) FROM twin", _LIMITS)).rows == ((3,),)
    await shelf.files.remove(world.acme, connector, "twin")
    assert not shelf.path(world.acme, twin).exists()
    assert shelf.path(world.globex, theirs).exists()
    with pytest.raises(NotFound):
        await shelf.files.remove(world.acme, connector, "twin")


@pytest.mark.req("CON-1", "SEC-4")
async def test_adding_and_removing_are_audited(shelf: Shelf) -> None:
    await shelf.files.remove(shelf.world.acme, shelf.acme_data.connector, "flights")
    events = await shelf.world.audit_events(shelf.world.acme)
    assert [event["action"] for event in events] == [
        "connector.created",
        "table.added",
        "table.removed",
    ]
    assert {event["layer"] for event in events} == {"connector"}
    assert "Canary" not in str(events)


@pytest.mark.req("CON-1", "SEC-4")
async def test_a_table_whose_adding_cannot_be_recorded_is_not_added(shelf: Shelf) -> None:
    await shelf.world.pools["audit"].close()
    upload = TableUpload("t", b"a\n1\n")
    with pytest.raises(StoreUnavailable):
        await shelf.files.add(shelf.world.acme, shelf.acme_data.connector, upload)
    tables = await shelf.files.list_tables(shelf.world.acme, shelf.acme_data.connector)
    assert [known.table.name for known in tables] == ["flights"]


@pytest.mark.req("CON-1")
async def test_a_cancelled_upload_leaves_nothing(shelf: Shelf) -> None:
    before = _files(shelf)
    content = io.BytesIO()
    content.write(b"a,b,c\n")
    for number in range(90_000):
        content.write(b"%d,text %d,2020-01-01\n" % (number, number))
    upload = TableUpload("t", content.getvalue()[:1_999_990].rsplit(b"\n", 1)[0])
    for delay in (0, 0.02, 0.1, 0.2, 0.3):
        task = asyncio.create_task(
            shelf.files.add(shelf.world.acme, shelf.acme_data.connector, upload)
        )
        await asyncio.sleep(delay)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
            await shelf.files.remove(shelf.world.acme, shelf.acme_data.connector, "t")
    for _ in range(500):  # what a thread had begun is cleared up when it ends
        await asyncio.sleep(0.01)
        if _files(shelf) == before:
            return
    pytest.fail("an upload left something behind")


@pytest.mark.req("CON-1")
async def test_what_a_killed_server_left_behind_is_cleared_up(shelf: Shelf) -> None:
    folder = shelf.root / str(shelf.world.acme.tenant)
    old, new = folder / ".incoming-old", folder / ".incoming-new"
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    upload = TableUpload("t", b"a\n1\n")
    await shelf.files.add(shelf.world.acme, shelf.acme_data.connector, upload)
    assert not old.exists()
    assert new.exists()


@pytest.mark.req("CON-1")
async def test_a_disk_that_cannot_be_written_is_said_to_be(shelf: Shelf) -> None:
    folder = shelf.root / str(shelf.world.acme.tenant)
    folder.rename(shelf.root / "elsewhere")
    folder.write_bytes(b"a file in the folder's place")
    upload = TableUpload("t", b"a\n1\n")
    with pytest.raises(StoreUnavailable, match="cannot be stored"):
        await shelf.files.add(shelf.world.acme, shelf.acme_data.connector, upload)


@pytest.mark.req("CON-1")
async def test_a_connector_of_another_kind_takes_no_files(shelf: Shelf) -> None:
    with shelf.world.admin() as admin:
        admin.execute("UPDATE tenantry.connectors SET kind = 'postgres' WHERE name = 'data'")
    connector = shelf.acme_data.connector
    upload = TableUpload("t", b"a\n1\n")
    with pytest.raises(InvalidRequest, match="does not take files"):
        await shelf.files.add(shelf.world.acme, connector, upload)
    with pytest.raises(InvalidRequest, match="does not take files"):
        await shelf.files.list_tables(shelf.world.acme, connector)


@pytest.mark.req("CON-1")
async def test_a_connector_takes_a_bounded_number_of_tables(shelf: Shelf) -> None:
    insert = (
        "INSERT INTO tenantry.data_files (tenant_id, connector_id, table_name, sha256,"
        " stored_sha256, size_bytes, row_count, columns, created_by)"
        " SELECT %s, %s, 'many_' || n, sha256('a'), sha256('b'), 1, 1, '[]', %s"
        " FROM generate_series(1, 199) AS n"
    )
    with shelf.world.admin() as admin:
        admin.execute(insert, [shelf.world.acme.tenant, shelf.acme_data.connector, uuid4()])
    upload = TableUpload("t", b"a\n1\n")
    with pytest.raises(Conflict, match="at most 200"):
        await shelf.files.add(shelf.world.acme, shelf.acme_data.connector, upload)


def _files(shelf: Shelf) -> set[str]:
    return {str(p.relative_to(shelf.root)) for p in shelf.root.rglob("*") if not p.is_dir()}
