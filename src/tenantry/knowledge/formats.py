"""Which formats are read, and how a file's format is told."""

from pathlib import PurePosixPath
from typing import Literal

from tenantry.core.errors import UnsupportedMedia

Format = Literal["text", "markdown", "html", "pdf", "docx", "csv"]

_DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_BY_SUFFIX: dict[str, Format] = {
    ".txt": "text", ".text": "text", ".log": "text", ".md": "markdown", ".markdown": "markdown",
    ".html": "html", ".htm": "html", ".xhtml": "html", ".pdf": "pdf", ".docx": "docx",
    ".csv": "csv", ".tsv": "csv",
}  # fmt: skip
MEDIA_TYPES: dict[Format, str] = {
    "text": "text/plain",
    "markdown": "text/markdown",
    "html": "text/html",
    "pdf": "application/pdf",
    "docx": _DOCX,
    "csv": "text/csv",
}
_BY_MEDIA_TYPE = {media_type: name for name, media_type in MEDIA_TYPES.items()}


def format_of(title: str, media_type: str | None, content: bytes) -> Format:
    """The format of a file: by its content where that is sure, then its name, then its type.

    Raises:
        UnsupportedMedia: it is none of those that are read.
    """
    if content.startswith(b"%PDF-"):
        return "pdf"
    suffix = PurePosixPath(title.lower()).suffix
    named = _BY_SUFFIX.get(suffix)
    if content.startswith(b"PK\x03\x04"):
        if named == "docx" or media_type == _DOCX:
            return "docx"
        raise UnsupportedMedia("This kind of archive is not read; send the files in it.")
    if named in {"pdf", "docx"}:
        raise UnsupportedMedia(f"The file is named {suffix} but is something else.")
    declared = (media_type or "").partition(";")[0].strip().lower()
    found = named or _BY_MEDIA_TYPE.get(declared)
    if found is None:
        known = ", ".join(sorted(_BY_SUFFIX))
        raise UnsupportedMedia(f"This kind of file is not read. Known: {known}.")
    return found
