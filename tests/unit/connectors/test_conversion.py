"""Uploads become tables with exact types, or are refused with what is wrong with them."""

import gzip
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from tenantry.connectors.conversion import Converter
from tenantry.connectors.csv_text import read_table
from tenantry.connectors.stored_files import StoredFiles
from tenantry.core.clock import SystemClock
from tenantry.core.errors import DocumentUnreadable
from tenantry.core.off_loop import off_loop
from tenantry.isolation.context import TenantContext

pytestmark = pytest.mark.req("CON-1")


@dataclass
class Table:
    """A converted upload, read back."""

    types: dict[str, str]
    rows: Sequence[tuple[object, ...]]


@dataclass
class Conversion:
    """Converts uploads and reads the results back."""

    ctx: TenantContext
    root: Path
    files: StoredFiles
    converter: Converter

    async def table(self, content: bytes) -> Table:
        """What became of an upload."""
        async with off_loop(self.files.incoming(self.ctx.tenant)) as target:
            made = await self.converter.convert(self.ctx, read_table(content), target)
            path = self.root / str(self.ctx.tenant) / target.name
            with duckdb.connect() as connection:
                connection.execute("SET TimeZone = 'UTC'")
                columns = ", ".join(
                    f"#{place}::VARCHAR" if "ZONE" in kind else f"#{place}"
                    for place, (_, kind) in enumerate(made.columns, 1)
                )
                query = f"SELECT {columns} FROM read_parquet('{path}')"
                rows = connection.execute(query).fetchall()
        assert made.rows == len(rows)
        return Table(dict(made.columns), rows)


@pytest.fixture
async def conversion(ctx: TenantContext, tmp_path: Path) -> AsyncIterator[Conversion]:
    """A converter with its files below `tmp_path`."""
    files = StoredFiles(tmp_path / "files", SystemClock())
    converter = Converter(files, 2_000_000, 60)
    yield Conversion(ctx, tmp_path / "files", files, converter)
    await converter.close()
    assert [p for p in (tmp_path / "files").rglob("*") if p.is_file()] == []


def parquet(tmp_path: Path, query: str) -> bytes:
    """A Parquet file of the rows of `query`."""
    path = tmp_path / "made.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
    return path.read_bytes()


async def test_types_are_detected_from_every_value(conversion: Conversion) -> None:
    late = b"a,b,c\n" + b"1,2020-01-01,true\n" * 30_000 + b"x,2020-01-01,true\n"
    table = await conversion.table(late)
    assert table.types == {"a": "VARCHAR", "b": "DATE", "c": "BOOLEAN"}


async def test_codes_with_leading_zeros_stay_texts(conversion: Conversion) -> None:
    table = await conversion.table(b"zip,n\n01234,1\n99999,2\n")
    assert table.rows == [("01234", 1), ("99999", 2)]


async def test_a_mark_among_numbers_is_missing_everywhere(conversion: Conversion) -> None:
    table = await conversion.table(b"n,country\n1,NA\nNA,DE\n\\N,FR\n")
    assert table.rows == [(1, None), (None, "DE"), (None, "FR")]


async def test_a_mark_among_texts_only_is_a_text(conversion: Conversion) -> None:
    table = await conversion.table(b"n,country\n1,NA\n2,DE\n3,\n")
    assert table.rows == [(1, "NA"), (2, "DE"), (3, None)]


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
async def test_the_usual_forms_of_csv_are_read(conversion: Conversion, content: bytes) -> None:
    table = await conversion.table(content)
    assert table.types == {"a": "BIGINT", "b": "VARCHAR"}
    assert table.rows == [(1, "x"), (2, "y")]


async def test_another_encoding_is_recognised(conversion: Conversion) -> None:
    words = ["München ist schön", "Größe und Maß", "Übermäßig süße Äpfel", "Öl für die Straße"] * 9
    content = ("stadt,n\n" + "".join(f"{word},1\n" for word in words)).encode("cp1252")
    table = await conversion.table(content)
    assert table.rows == [(word, 1) for word in words]


async def test_quotes_commas_and_lines_inside_fields_are_kept(conversion: Conversion) -> None:
    table = await conversion.table(b'a,b\n1,"x, ""y""\nz"\n')
    assert table.rows == [(1, 'x, "y"\nz')]


async def test_a_table_with_a_header_only_is_empty(conversion: Conversion) -> None:
    assert (await conversion.table(b"a,b\n")).rows == []


async def test_columns_without_names_or_with_the_same_are_told_apart(
    conversion: Conversion,
) -> None:
    table = await conversion.table(b'a,A,,a_2,it\'s "x"\n1,2,3,4,5\n'.replace(b'"x"', b"x"))
    assert list(table.types) == ["a", "A_2", "column_3", "a_2_2", "it's x"]


async def test_large_numbers_and_instants_keep_what_they_are(conversion: Conversion) -> None:
    content = b"id,at\n12345678901234567890,2013-01-01T11:00:00Z\n1,2013-01-01T12:00:00+02:00\n"
    table = await conversion.table(content)
    assert table.types == {"id": "DECIMAL(38,0)", "at": "TIMESTAMP WITH TIME ZONE"}
    assert [(str(number), instant) for number, instant in table.rows] == [
        ("12345678901234567890", "2013-01-01 11:00:00+00"),
        ("1", "2013-01-01 10:00:00+00"),
    ]


async def test_parquet_keeps_its_types(conversion: Conversion, tmp_path: Path) -> None:
    query = (
        "SELECT 1.10::DECIMAL(9, 2) AS price, DATE '2020-02-29' AS day, [1, 2] AS list,"
        ' NULL::INT AS "a ""b"""'
    )
    table = await conversion.table(parquet(tmp_path, query))
    assert table.types == {
        "price": "DECIMAL(9,2)",
        "day": "DATE",
        "list": "INTEGER[]",
        'a "b"': "INTEGER",
    }


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty"),
        (b"\n\n", "first line"),
        (b",,\n1,2,3\n", "first line"),
        (b"a,b\n1,2\n3\n", "Line 3 has 1 fields where the first line names 2 columns"),
        (b"a,b\n1,2,3\n", "Line 2 has 3 fields where the first line names 2 columns"),
        (b'a,b\n"unterminated,2\n3,4\n', "Line 2 has a quotation mark that does not end"),
        (b"a,b\n1," + b"x" * 5_000_000 + b"\n", "Line 2 does not follow the rules of CSV"),
        (b"a,b\x00\n1,2\n", "neither CSV nor Parquet"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "neither CSV nor Parquet"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), "neither CSV nor Parquet"),
        (b"PK\x03\x04\x14\x00\x00\x00", "neither CSV nor Parquet"),
        (b"PAR1" + b"x" * 100 + b"PAR1", "Footer"),
        (b"PAR1PAR1", "too small"),
        (b"a\x1b[2J,b\n1,2\n", "not printable"),
        (b",".join([b"a"] * 1001) + b"\n", "more than 1000 columns"),
        (b"x" * 200 + b",b\n1,2\n", "longer than 128"),
    ],
)
async def test_a_file_that_is_no_table_is_refused_clearly(
    conversion: Conversion, content: bytes, problem: str
) -> None:
    with pytest.raises(DocumentUnreadable, match=problem) as refused:
        await conversion.table(content)
    assert "/dev/" not in refused.value.message
    assert str(conversion.root) not in refused.value.message


async def test_a_small_file_that_takes_too_long_is_stopped(
    ctx: TenantContext, tmp_path: Path
) -> None:
    bomb = parquet(tmp_path, "SELECT 1 AS n, 'x' AS s FROM range(150000000)")
    assert len(bomb) < 1_000_000
    files = StoredFiles(tmp_path / "files", SystemClock())
    converter = Converter(files, 2_000_000, 1)
    async with off_loop(files.incoming(ctx.tenant)) as target:
        with pytest.raises(DocumentUnreadable, match="too long"):
            await converter.convert(ctx, read_table(bomb), target)
    await converter.close()


async def test_a_small_file_that_would_fill_the_disk_is_stopped(
    ctx: TenantContext, tmp_path: Path
) -> None:
    query = "SELECT md5(i::VARCHAR) AS a, md5(i::VARCHAR) AS b FROM range(400000) AS r(i)"
    content = parquet(tmp_path, query)
    files = StoredFiles(tmp_path / "files", SystemClock())
    converter = Converter(files, 1, 60)  # then the target may have 1 MiB
    async with off_loop(files.incoming(ctx.tenant)) as target:
        with pytest.raises(DocumentUnreadable):
            await converter.convert(ctx, read_table(content), target)
    await converter.close()
