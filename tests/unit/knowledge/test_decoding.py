"""Bytes to text: every encoding that documents come in, and nothing that is no text."""

import codecs
import gzip
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.errors import DocumentUnreadable
from tenantry.knowledge.parse.decoding import decode

PRINTABLE = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=80)


@pytest.mark.req("VEC-3")
@given(PRINTABLE)
def test_utf8_is_read_as_it_is(text: str) -> None:
    assert decode(text.encode()) == text.removeprefix("\ufeff")


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@given(text=PRINTABLE)
def test_a_mark_names_the_encoding(encoding: str, text: str) -> None:
    assert decode(text.encode(encoding)) == text


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "Köln"),
        ("cp1252", "Café, “crème”"),
        ("cp1252", "Grüße aus Köln. Die Straße ist für 5 € gesperrt."),
        ("cp1252", "Återbetalning sker på tjugoen dagar för köpet"),
        ("cp1252", "¿Cuántos días tengo? El señor pidió la devolución."),
        ("cp1250", "Zażółć gęślą jaźń, proszę o zwrot pieniędzy."),
        ("cp1251", "Возврат средств возможен в течение двадцати одного дня после покупки."),
        ("koi8-r", "Возврат средств возможен в течение двадцати одного дня."),
        ("cp1253", "επιστροφή χρημάτων είναι δυνατή εντός είκοσι μίας ημερών"),
        ("cp1254", "Müşteriler yirmi bir gün içinde iade isteyebilir, şğıİ"),
        ("cp1256", "يمكن استرداد الأموال خلال واحد وعشرين يوما"),
        ("cp932", "返金は購入から21日以内に申請してください。手数料は無料です。"),
        ("gb18030", "退款必须在购买后二十一天内提出申请, 手续费全免。"),
        ("cp949", "환불은 구매 후 21일 이내에 신청해야 합니다."),
        ("utf-16-le", "Grüße aus Köln, hier ist ein Text."),
        ("utf-16-be", "Grüße aus Köln, hier ist ein Text."),
    ],
)
def test_an_unnamed_encoding_is_recognised(encoding: str, text: str) -> None:
    assert decode(text.encode(encoding)) == text


@pytest.mark.req("VEC-3")
def test_a_declared_encoding_counts_where_the_bytes_are_not_utf8() -> None:
    assert decode("Ελλάδα".encode("cp1253"), "windows-1253") == "Ελλάδα"
    assert decode("Grüße".encode(), "windows-1253") == "Grüße"


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize("declared", ["zip", "hex", "rot13", "no-such", "\0", "base64"])
def test_a_declared_encoding_that_is_none_is_passed_over(declared: str) -> None:
    assert decode("Grüße aus Köln, immer wieder.".encode("cp1252"), declared).startswith("Grüße")


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    "junk",
    [
        bytes(range(256)) * 40,
        gzip.compress(b"some words " * 200, mtime=0),
        struct.pack("<500f", *(0.37 * n for n in range(500))),
        b"\x7fELF\x02\x01\x01" + bytes(200) + bytes(range(128, 256)) * 8,
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(200, 256)) * 20,
        codecs.BOM_UTF16_LE + b"\x00\xd8\x41\x00" * 50,
        b"\x01\x02\x03 mostly controls \x04\x05\x06\x07" * 3,
        b"text with \x00 in it, not utf-16" * 3,
    ],
)
def test_what_is_no_text_is_refused(junk: bytes) -> None:
    with pytest.raises(DocumentUnreadable, match="not text"):
        decode(junk)


@pytest.mark.req("VEC-3")
@given(st.binary(max_size=300))
def test_any_bytes_are_text_or_refused(content: bytes) -> None:
    try:
        text = decode(content)
    except DocumentUnreadable:
        return
    assert "\r" not in text


@pytest.mark.req("VEC-3")
def test_every_kind_of_line_end_becomes_one() -> None:
    assert decode(b"a\r\nb\rc\nd") == "a\nb\nc\nd"
