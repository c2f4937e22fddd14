"""Files taken in as tables: read right, kept once, refused clearly, removed wholly."""

import asyncio
import gzip
import io
import os
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import duckdb
import pytest

from tenantry.connectors.base import ConnectorServices, QueryLimits
from tenantry.connectors.file_store import FileStore, TableUpload
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


async def _rows(shelf: Shelf, content: bytes, columns: str = "*") -> tuple[tuple[object, ...], ...]:
    """Take a file in and read it back."""
    world = shelf.world
    await shelf.files.add(world.acme, shelf.acme_data.connector, TableUpload("t", content))
    source = await shelf.source(world.acme)
    return (await source.query(f"SELECT {columns} FROM t", _LIMITS)).rows


async def _types(shelf: Shelf, content: bytes) -> dict[str, str]:
    world = shelf.world
    upload = TableUpload("t", content)
    added = await shelf.files.add(world.acme, shelf.acme_data.connector, upload)
    return {column.name: column.type for column in added.table.columns}


def _parquet(tmp_path: Path, query: str) -> bytes:
    path = tmp_path / "made.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
    return path.read_bytes()


@pytest.mark.req("CON-1")
async def test_types_are_detected_from_every_value(shelf: Shelf) -> None:
    late = b"a,b,c\n" + b"1,2020-01-01,true\n" * 30_000 + b"x,2020-01-01,true\n"
    assert await _types(shelf, late) == {"a": "VARCHAR", "b": "DATE", "c": "BOOLEAN"}


@pytest.mark.req("CON-1")
async def test_codes_with_leading_zeros_stay_texts(shelf: Shelf) -> None:
    content = b"zip,n\n01234,1\n99999,2\n"
    assert await _rows(shelf, content) == (("01234", 1), ("99999", 2))


@pytest.mark.req("CON-1")
async def test_a_mark_among_numbers_is_missing_everywhere(shelf: Shelf) -> None:
    content = b"n,country\n1,NA\nNA,DE\n\\N,FR\n"
    assert await _rows(shelf, content) == ((1, None), (None, "DE"), (None, "FR"))


@pytest.mark.req("CON-1")
async def test_a_mark_among_texts_only_is_a_text(shelf: Shelf) -> None:
    content = b"n,country\n1,NA\n2,DE\n3,\n"
    assert await _rows(shelf, content) == ((1, "NA"), (2, "DE"), (3, None))


@pytest.mark.req("CON-1")
@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1,x\n2,y\n",
        b"a;b\n1;x\n2;y\n",
        b"a\tb\n1\tx\n2\ty\n",
        b"a|b\r\n1|x\r\n2|y\r\n",
        b'\xef\xbb\xbf"a","b"\n"1","x"\n"2","y"\n',
        "a,b\n1,x\n2,y\n".encode("utf-16"),
        b"\n\na,b\n1,x\n2,y",
    ],
    ids=["comma", "semicolon", "tab", "bar-crlf", "bom-quoted", "utf-16", "blank-lines"],
)
async def test_the_usual_forms_of_csv_are_read(shelf: Shelf, content: bytes) -> None:
    assert await _rows(shelf, content) == ((1, "x"), (2, "y"))


@pytest.mark.req("CON-1")
async def test_another_encoding_is_recognised(shelf: Shelf) -> None:
    words = ["München ist schön", "Größe und Maß", "Übermäßig süße Äpfel", "Öl für die Straße"] * 20
    content = ("stadt,n\n" + "".join(f"{word},1\n" for word in words)).encode("cp1252")
    await _rows(shelf, content)
    source = await shelf.source(shelf.world.acme)
    found = await source.query("SELECT count(*) FROM t WHERE stadt = 'Größe und Maß'", _LIMITS)
    assert found.rows == ((20,),)


@pytest.mark.req("CON-1")
async def test_quotes_commas_and_lines_inside_fields_are_kept(shelf: Shelf) -> None:
    content = b'a,b\n1,"x, ""y""\nz"\n'
    assert await _rows(shelf, content) == ((1, 'x, "y"\nz'),)


@pytest.mark.req("CON-1")
async def test_a_table_with_a_header_only_is_empty(shelf: Shelf) -> None:
    assert await _rows(shelf, b"a,b\n", "count(*)") == ((0,),)


@pytest.mark.req("CON-1")
async def test_parquet_keeps_its_types(shelf: Shelf, tmp_path: Path) -> None:
    content = _parquet(
        tmp_path,
        "SELECT 1.10::DECIMAL(9, 2) AS price, DATE '2020-02-29' AS day, [1, 2] AS list,"
        " NULL::INT AS n",
    )
    assert await _types(shelf, content) == {
        "price": "DECIMAL(9,2)",
        "day": "DATE",
        "list": "INTEGER[]",
        "n": "INTEGER",
    }
    source = await shelf.source(shelf.world.acme)
    assert (await source.query("SELECT * FROM t", _LIMITS)).rows == (
        ("1.10", "2020-02-29", [1, 2], None),
    )


@pytest.mark.req("CON-1")
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty"),
        (b"\n\n", "first line"),
        (b",,\n1,2,3\n", "first line"),
        (b"a,b\n1,2\n3\n", "Line 3 has 1 fields where the first line names 2 columns"),
        (b"a,b\n1,2,3\n", "Line 2 has 3 fields where the first line names 2 columns"),
        (b'a,b\n"unterminated,2\n3,4\n', "Line 2 has a quotation mark that does not end"),
        (b"a,b\x00\n1,2\n", "neither CSV nor Parquet"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "neither CSV nor Parquet"),
        (gzip.compress(b"a,b\n1,2\n"), "neither CSV nor Parquet"),
        (b"PK\x03\x04\x14\x00\x00\x00", "neither CSV nor Parquet"),
        (b"PAR1" + b"x" * 100 + b"PAR1", "Footer"),
        (b"PAR1PAR1", "too small"),
        (b"a\x1b[2J,b\n1,2\n", "not printable"),
        (b",".join([b"a"] * 1001) + b"\n", "more than 1000 columns"),
        (b"x" * 200 + b",b\n1,2\n", "longer than 128"),
    ],
)
async def test_a_file_that_is_no_table_is_refused_clearly_and_leaves_nothing(
    shelf: Shelf, content: bytes, problem: str
) -> None:
    before = _files(shelf)
    upload = TableUpload("t", content)
    with pytest.raises(DocumentUnreadable, match=problem) as refused:
        await shelf.files.add(shelf.world.acme, shelf.acme_data.connector, upload)
    assert "/dev/" not in refused.value.message
    assert str(shelf.root) not in refused.value.message
    assert _files(shelf) == before


@pytest.mark.req("CON-1")
async def test_columns_without_names_or_with_the_same_are_told_apart(shelf: Shelf) -> None:
    content = b"a,A,,a_2\n1,2,3,4\n"
    assert list(await _types(shelf, content)) == ["a", "A_2", "column_3", "a_2_2"]


@pytest.mark.req("CON-1")
async def test_large_numbers_and_instants_keep_what_they_are(shelf: Shelf) -> None:
    content = b"id,at\n12345678901234567890,2013-01-01T11:00:00Z\n1,2013-01-01T12:00:00+02:00\n"
    assert await _rows(shelf, content, "id, at") == (
        ("12345678901234567890", "2013-01-01 11:00:00+00"),
        ("1", "2013-01-01 10:00:00+00"),
    )


@pytest.mark.req("CON-1")
async def test_a_file_beyond_the_limit_is_refused_before_it_is_read(shelf: Shelf) -> None:
    upload = TableUpload("t", b"a\n" + b"1\n" * 1_000_001)
    with pytest.raises(TooLarge, match="2,000,000"):
        await shelf.files.add(shelf.world.acme, shelf.acme_data.connector, upload)


@pytest.mark.req("CON-1")
async def test_a_small_file_that_takes_too_long_is_stopped(shelf: Shelf, tmp_path: Path) -> None:
    bomb = _parquet(tmp_path, "SELECT 1 AS n, 'x' AS s FROM range(150000000)")
    assert len(bomb) < 2_000_000
    services = ConnectorServices(shelf.world.db, shelf.world.audit, shelf.world.clock, shelf.root)
    store = FileStore(services, 2_000_000, conversion_s=1)
    with pytest.raises(DocumentUnreadable, match="too long"):
        await store.add(shelf.world.acme, shelf.acme_data.connector, TableUpload("t", bomb))
    await store.close()
    assert len(_files(shelf)) == 2


@pytest.mark.req("CON-1")
@pytest.mark.parametrize("name", ["", "Flights", "1st", "a b", "a-b", 'a"b', "../x", "x" * 64, "ä"])
async def test_a_name_that_is_none_for_a_table_is_refused(shelf: Shelf, name: str) -> None:
    upload = TableUpload(name, FLIGHTS)
    with pytest.raises(InvalidRequest):
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
    await _rows(shelf, b"a\n1\n")
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
async def test_a_connector_takes_a_bounded_number_of_tables(shelf: Shelf) -> None:
    insert = (
        "INSERT INTO tenantry.data_files (tenant_id, connector_id, table_name, sha256,"
        " stored_sha256, size_bytes, row_count, columns, created_by)"
        " SELECT %s, %s, 'many_' || n, sha256('a'), sha256('b'), 1, 1, '[]', %s"
        " FROM generate_series(1, 199) AS n"
    )
    with shelf.world.admin() as admin:
        admin.execute(insert, [shelf.world.acme.tenant, shelf.acme_data.connector, uuid4()])
    with pytest.raises(Conflict, match="at most 200"):
        await _rows(shelf, b"a\n1\n")


def _files(shelf: Shelf) -> set[str]:
    return {str(p.relative_to(shelf.root)) for p in shelf.root.rglob("*") if not p.is_dir()}
