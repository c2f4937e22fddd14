"""Hostile files: each ends as a clear failure of that document alone, within its process."""

import asyncio
import struct
import zlib
from collections.abc import Mapping
from typing import NamedTuple

import pytest

from tenantry.core.errors import DocumentUnreadable, TooLarge, UnsupportedMedia
from tenantry.knowledge.formats import format_of
from tenantry.knowledge.parser import DocumentParser
from tests.unit.knowledge.files import (
    archive,
    docx,
    eml,
    encrypted_pdf,
    pdf,
    pptx,
    repacked,
    written,
    xlsx,
)
from tests.unit.knowledge.test_parser import ACME, GLOBEX

_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_S = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_P = "http://schemas.openxmlformats.org/presentationml/2006/main"
_SECRET = "root:"  # what /etc/passwd begins with


class Hostile(NamedTuple):
    """A file; `readable` where it may also come out as a document, without what it reached for."""

    title: str
    content: bytes
    readable: bool = False


def _laughs(body: str) -> bytes:
    names = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "lol" * 10}">' for n in range(9))
    return f'<?xml version="1.0"?><!DOCTYPE x [{names}]>{body.replace("@", "&e8;")}'.encode()


def _external(body: str, target: str) -> bytes:
    declared = f'<!DOCTYPE x [<!ENTITY f SYSTEM "{target}">]>'
    return f'<?xml version="1.0"?>{declared}{body.replace("@", "&f;")}'.encode()


def _claiming(content: bytes, size: int) -> bytes:
    """The archive, whose last entry says that it has `size` bytes."""
    changed = bytearray(content)
    place = changed.rfind(b"PK\x01\x02")
    changed[place + 24 : place + 28] = struct.pack("<I", size)
    return bytes(changed)


def _looping_pdf() -> bytes:
    """Pages whose parent is their child."""
    pages = b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
    loop = b"<< /Type /Pages /Kids [2 0 R] /Count 1 /Parent 2 0 R >>"
    return written([b"<< /Type /Catalog /Pages 2 0 R >>", pages, loop])


def _bursting_pdf() -> bytes:
    """A page whose content unpacks to a gigabyte."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(1024)) + packer.flush()
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R >>"
    stream = b"<< /Length %d /Filter /FlateDecode >>\nstream\n" % len(packed)
    return written(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            page,
            stream + packed + b"\nendstream",
        ]
    )


def _claiming_pdf() -> bytes:
    return pdf("x").replace(b"/Count 1", b"/Count 2147483647")


_WORDS = f'<w:document xmlns:w="{_W}"><w:body><w:p><w:r><w:t>a @ b</w:t></w:r></w:p></w:body></w:document>'  # noqa: E501  # one element
_CELLS = f'<worksheet xmlns="{_S}"><sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>a</t></is></c></row><row r="2"><c r="A2" t="inlineStr"><is><t>@</t></is></c></row></sheetData></worksheet>'  # noqa: E501
_FAR = f'<worksheet xmlns="{_S}"><dimension ref="A1:XFD1048576"/><sheetData><row r="99999999999"><c r="A99999999999"><v>1</v></c></row></sheetData></worksheet>'  # noqa: E501
_SLIDE = f'<p:sld xmlns:p="{_P}"><p:cSld>@</p:cSld></p:sld>'
_DOCX, _XLSX, _PPTX = docx("a", "b"), xlsx(A=[["a"], ["b"]]), pptx(("a", "b"))


def _in(container: bytes, name: str, body: bytes) -> bytes:
    return repacked(container, {name: body})


_DOCUMENT, _SHEET, _PAGE = "word/document.xml", "xl/worksheets/sheet1.xml", "ppt/slides/slide1.xml"
_BOMB = {"x.bin": bytes(30_000_000)}
_HOSTILE: Mapping[str, Hostile] = {
    "docx: zip bomb": Hostile("a.docx", repacked(_DOCX, _BOMB)),
    "xlsx: zip bomb": Hostile("a.xlsx", repacked(_XLSX, _BOMB)),
    "pptx: zip bomb": Hostile("a.pptx", repacked(_PPTX, _BOMB)),
    "zip: zip bomb": Hostile("a.zip", archive({"a.txt": bytes(30_000_000)})),
    "zip: bomb in a document": Hostile("a.zip", archive({"a.docx": repacked(_DOCX, _BOMB)})),
    "zip: archives in archives": Hostile("a.zip", archive({"a.zip": archive({"b.txt": b"x"})})),
    "zip: too many files": Hostile("a.zip", archive({f"{n}.txt": b"x" for n in range(1001)})),
    "zip: cut short": Hostile("a.zip", archive({"a.txt": b"x" * 999})[:-30]),
    "zip: 2 GB claimed": Hostile("a.zip", _claiming(archive({"a.txt": b"x"}), 1 << 31)),
    "docx: 2 GB claimed": Hostile("a.docx", _claiming(_DOCX, 1 << 31)),
    "xlsx: 2 GB claimed": Hostile("a.xlsx", _claiming(_XLSX, 1 << 31)),
    "pptx: 2 GB claimed": Hostile("a.pptx", _claiming(_PPTX, 1 << 31)),
    "docx: a size that lies": Hostile(
        "a.docx", _claiming(_in(_DOCX, _DOCUMENT, b"<x>" + b" " * 99_999), 10)
    ),
    "docx: million laughs": Hostile("a.docx", _in(_DOCX, _DOCUMENT, _laughs(_WORDS))),
    "xlsx: million laughs": Hostile("a.xlsx", _in(_XLSX, _SHEET, _laughs(_CELLS))),
    "pptx: million laughs": Hostile("a.pptx", _in(_PPTX, _PAGE, _laughs(_SLIDE))),
    "docx: a file as entity": Hostile(
        "a.docx", _in(_DOCX, _DOCUMENT, _external(_WORDS, "file:///etc/passwd")), True
    ),
    "xlsx: a file as entity": Hostile(
        "a.xlsx", _in(_XLSX, _SHEET, _external(_CELLS, "file:///etc/passwd")), True
    ),
    "pptx: a file as entity": Hostile(
        "a.pptx", _in(_PPTX, _PAGE, _external(_SLIDE, "file:///etc/passwd")), True
    ),
    "docx: an address as entity": Hostile(
        "a.docx", _in(_DOCX, _DOCUMENT, _external(_WORDS, "http://127.0.0.1:9/")), True
    ),
    "xlsx: a row beyond all": Hostile("a.xlsx", _in(_XLSX, _SHEET, _FAR.encode())),
    "docx: broken XML": Hostile("a.docx", _in(_DOCX, _DOCUMENT, b"<broken")),
    "xlsx: broken XML": Hostile("a.xlsx", _in(_XLSX, "xl/workbook.xml", b"<broken")),
    "pptx: broken XML": Hostile("a.pptx", _in(_PPTX, "ppt/presentation.xml", b"<broken")),
    "pdf: pages that hold themselves": Hostile("a.pdf", _looping_pdf()),
    "pdf: a stream that bursts": Hostile("a.pdf", _bursting_pdf()),
    "pdf: two billion pages claimed": Hostile("a.pdf", _claiming_pdf(), True),
    "pdf: encrypted": Hostile("a.pdf", encrypted_pdf("x", "password")),
    "pdf: cut short": Hostile("a.pdf", pdf("x")[:150]),
    "pdf: nothing but its mark": Hostile("a.pdf", b"%PDF-1.7\n%%EOF"),
    "pdf: bytes of chance": Hostile("a.pdf", b"%PDF-1.4\n" + bytes(range(256)) * 64),
    "pdf: named as text": Hostile("a.txt", b"%PDF-1.4\nnot one"),
    "wrong extension: a program": Hostile("a.docx", b"MZ\x90\0" + bytes(200)),
    "wrong extension: an image": Hostile("a.pdf", b"\x89PNG\r\n\x1a\n"),
    "wrong extension: a workbook": Hostile("a.docx", _XLSX),
    "wrong extension: an archive": Hostile("a.md", archive({"a.txt": b"x"})),
    "protected by Office": Hostile("a.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500)),
    "null bytes as text": Hostile("a.txt", bytes(5000)),
    "null bytes as table": Hostile("a.csv", b"a,b\n" + bytes(5000)),
    "null bytes as mail": Hostile("a.eml", bytes(5000)),
    "csv: ten thousand columns": Hostile("a.csv", b",".join([b"x"] * 10_000) + b"\n1\n"),
    "csv: one endless cell": Hostile("a.csv", b'a,b\n"' + b"x" * 2_000_000),
    "html: nested without end": Hostile("a.html", b"<div>" * 100_000 + b"x"),
    "eml: a broken attachment": Hostile("a.eml", eml("x", "y", a__pdf=b"%PDF-1.4\nno")),
    "eml: no header at all": Hostile("a.eml", b"\n\nwords"),
    "text: eleven million letters": Hostile("a.txt", b"x" * 11_000_000),
}


async def _end(parser: DocumentParser, number: int, file: Hostile) -> str:
    """How reading ends: the error's kind, or the text."""
    ctx = (ACME, GLOBEX)[number % 2]
    try:
        found = format_of(file.title, None, file.content)
        document = await parser.parse(ctx, found, file.content)
    except (DocumentUnreadable, TooLarge, UnsupportedMedia) as error:
        return f"{type(error).__name__}: {error.message}"
    return document.text


@pytest.mark.req("VEC-3")
async def test_every_hostile_file_fails_alone_and_says_why() -> None:
    assert len(_HOSTILE) >= 40
    parser = DocumentParser(processes=2)
    each = [_end(parser, number, file) for number, file in enumerate(_HOSTILE.values())]
    ends = dict(zip(_HOSTILE, await asyncio.gather(*each), strict=True))
    errors = ("DocumentUnreadable: ", "TooLarge: ", "UnsupportedMedia: ")
    read = {name: end for name, end in ends.items() if not end.startswith(errors)}
    assert {name for name in read if not _HOSTILE[name].readable} == set()
    assert not any(_SECRET in text for text in read.values())
    # The next document is read as if nothing had happened.
    assert (await parser.parse(ACME, "text", b"next")).text == "next"
