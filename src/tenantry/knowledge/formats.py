"""Which formats are read, and how a file's format is told."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Literal

from tenantry.core.errors import UnsupportedMedia

Format = Literal[
    "text", "markdown", "html", "pdf", "docx", "pptx", "xlsx", "csv", "eml", "zip"
]  # fmt: skip

_OFFICE = "application/vnd.openxmlformats-officedocument"
MEDIA_TYPES: Mapping[Format, str] = {
    "text": "text/plain",
    "markdown": "text/markdown",
    "html": "text/html",
    "pdf": "application/pdf",
    "docx": f"{_OFFICE}.wordprocessingml.document",
    "pptx": f"{_OFFICE}.presentationml.presentation",
    "xlsx": f"{_OFFICE}.spreadsheetml.sheet",
    "csv": "text/csv",
    "eml": "message/rfc822",
    "zip": "application/zip",
}
_BY_SUFFIX: Mapping[str, Format] = {
    ".txt": "text", ".text": "text", ".log": "text", ".md": "markdown", ".markdown": "markdown",
    ".html": "html", ".htm": "html", ".xhtml": "html", ".pdf": "pdf", ".docx": "docx",
    ".pptx": "pptx", ".xlsx": "xlsx", ".csv": "csv", ".tsv": "csv", ".eml": "eml", ".zip": "zip",
}  # fmt: skip
_BY_MEDIA_TYPE: Mapping[str, Format] = {
    **{media_type: name for name, media_type in MEDIA_TYPES.items()},
    "text/x-markdown": "markdown",
    "application/xhtml+xml": "html",
    "text/tab-separated-values": "csv",
    "application/csv": "csv",
    "application/x-zip-compressed": "zip",
}
_ZIPPED: frozenset[Format] = frozenset({"docx", "pptx", "xlsx", "zip"})
# Formats that many will try; the others cannot be told from text, or need no word of their own.
_REFUSED: Mapping[bytes, str] = {
    b"PK\x03\x04": "The file is an archive, and its name does not say so; call it .zip.",
    b"\xd0\xcf\x11\xe0": (
        "Old or password-protected Office files are not read; save as DOCX, PPTX or XLSX."
    ),
    b"{\\rtf": "RTF is not read; save as DOCX.",
    b"\x89PNG": "Images are not read; a scan must be recognised first.",
    b"\xff\xd8\xff": "Images are not read; a scan must be recognised first.",
    b"GIF8": "Images are not read; a scan must be recognised first.",
}
_PDF = b"%PDF-"
_PDF_WITHIN = 1024
"""How far readers look for the mark of a PDF (PDF Reference 1.7, appendix H)."""


def format_of(title: str, media_type: str | None, content: bytes) -> Format:
    """The format of a file: by its content where that is sure, then its name, then its type.

    Raises:
        UnsupportedMedia: it is none of those that are read, or not what its name says.
    """
    suffix = PurePosixPath(title.lower()).suffix
    declared = (media_type or "").partition(";")[0].strip().lower()
    said = _BY_SUFFIX.get(suffix) or _BY_MEDIA_TYPE.get(declared)
    if content.startswith(_PDF) or (said == "pdf" and _PDF in content[:_PDF_WITHIN]):
        return "pdf"
    if said in _ZIPPED and content.startswith(b"PK\x03\x04"):
        return said
    for mark, reason in _REFUSED.items():
        if content.startswith(mark):
            raise UnsupportedMedia(reason)
    if said == "pdf" or said in _ZIPPED:
        raise UnsupportedMedia(f"The file is not the {said.upper()} that it is said to be.")
    if said is None and content[:256].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "html"
    if said is None and declared.startswith("text/"):
        return "text"
    if said is None:
        known = ", ".join(sorted(_BY_SUFFIX))
        raise UnsupportedMedia(f"This kind of file is not read. Known: {known}.")
    return said
