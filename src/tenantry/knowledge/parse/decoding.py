"""Bytes to text: by their mark, as UTF-8, as declared, else as they most likely are."""

import codecs

from charset_normalizer import from_bytes

from tenantry.core.errors import DocumentUnreadable

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is its first half
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# In use for documents; the mainframe and DOS tables that are left out fit anything by chance.
_GUESSED = [
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258",
    "koi8_r", "koi8_u", "cp874", "cp932", "euc_jp", "iso2022_jp", "gb18030", "big5", "cp949",
    "iso8859_2", "iso8859_15",
]  # fmt: skip
_SAMPLE = 10_000


def decode(content: bytes, declared: str = "") -> str:
    r"""The text in `content`, with `\n` for every kind of line end.

    Args:
        content: the bytes.
        declared: the encoding that the document itself names, or empty.

    Raises:
        DocumentUnreadable: it is no text.
    """
    text = _marked(content)
    if text is None:
        text = _as(content, "utf-8")
    if text is None and declared:
        text = _as(content, declared)
    if text is None:
        text = _guess(content)
    sample = text[:_SAMPLE]
    strange = sum(1 for c in sample if c < " " and c not in "\t\n\r\f")
    if strange > len(sample) // 100:
        raise DocumentUnreadable("The file is not text.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _marked(content: bytes) -> str | None:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _as(content, encoding)
    return None


def _as(content: bytes, encoding: str) -> str | None:
    try:
        # `decode` of a text encoding only: `codecs` also knows zip and hex.
        return content.decode(encoding)
    except (ValueError, LookupError):
        return None


def _guess(content: bytes) -> str:
    # A NUL is in no text but UTF-16 without its mark.
    known = ["utf_16_le", "utf_16_be"] if b"\0" in content else _GUESSED
    # Ties are common in short texts; most documents without Unicode are Western European.
    best = min(
        from_bytes(content, cp_isolation=known),
        key=lambda m: (m.chaos, -m.coherence, "cp1252" not in m.could_be_from_charset),
        default=None,
    )
    if best is None:
        raise DocumentUnreadable("The file is not text in any encoding that we know.")
    return str(best)
