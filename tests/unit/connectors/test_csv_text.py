"""Uploads are recognised by their content; nothing that they contain can break the server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.connectors.csv_text import TableContent, read_table
from tenantry.core.errors import DocumentUnreadable

pytestmark = pytest.mark.req("CON-1")


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_table_or_are_refused(content: bytes) -> None:
    try:
        table = read_table(content)
    except DocumentUnreadable:
        return
    table.content.decode()
    lowered = [name.lower() for name in table.names]
    assert len(set(lowered)) == len(lowered)
    assert all(name.isprintable() and name.strip() for name in table.names)


@pytest.mark.parametrize(
    ("header", "delimiter", "names"),
    [
        (b"a,b,c", ",", ("a", "b", "c")),
        (b"a;b,c;d", ";", ("a", "b,c", "d")),
        (b"a\tb c", "\t", ("a", "b c")),
        (b'"a;b;c",d', ",", ("a;b;c", "d")),
        (b"alone", ",", ("alone",)),
        (b" a , b ", ",", ("a", "b")),
        (b"a,a,A,a_2", ",", ("a", "a_2", "A_3", "a_2_2")),
        (b"a,,", ",", ("a", "column_2", "column_3")),
        ("größe,x".encode(), ",", ("größe", "x")),
    ],
)
def test_the_first_line_names_the_columns(
    header: bytes, delimiter: str, names: tuple[str, ...]
) -> None:
    table = read_table(header + b"\n1,2,3\n")
    assert (table.delimiter, table.names) == (delimiter, names)


def test_parquet_is_passed_on_as_it_is() -> None:
    content = b"PAR1" + bytes(range(256)) + b"PAR1"
    assert read_table(content) == TableContent(content)


def test_text_in_utf8_is_not_copied() -> None:
    content = b"a,b\n" + "1,ö\n".encode() * 1000
    assert read_table(content).content is content


def test_a_break_inside_a_character_at_a_step_of_reading_is_no_error() -> None:
    content = b"a\n" + "ö".encode() * (1 << 20)
    assert read_table(content).content == content
    with pytest.raises(DocumentUnreadable):
        read_table(content[:-1] + b"\x00")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("name,city\nJosé,São Paulo\nFrançois,Besançon\n", "cp1252"),
        ("Größe;Preis\nklein;1,50 €\n", "cp1252"),
        ("jméno,město\nJiří,Plzeň\nŽofie,Český Krumlov\n", "cp1250"),
        ("имя,город\nИван,Москва\nОльга,Казань\n", "cp1251"),  # noqa: RUF001 - Cyrillic
        ("名前,都市\n太郎,東京\n花子,大阪\n", "shift_jis"),
        ("naïve,x\n1,2\n", "utf-16"),
    ],
)
def test_what_spreadsheets_export_is_read(text: str, encoding: str) -> None:
    assert read_table(text.encode(encoding)).content.decode() == text
