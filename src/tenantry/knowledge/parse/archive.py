"""ZIP: the documents in it, each under its path; what is in no known format is named, not read."""

import zipfile
import zlib

from tenantry.core.errors import DocumentUnreadable, TooLarge
from tenantry.knowledge.parse.parsed import ParsedDocument, TextBuilder
from tenantry.knowledge.parse.parts import add_part, add_unread
from tenantry.knowledge.parse.zipped import unzipped

_MOST_FILES = 1000
_BROKEN = "The file is not a readable ZIP archive."


def parse_zip(content: bytes) -> ParsedDocument:
    """The documents of an archive; archives in it are not opened.

    Raises:
        DocumentUnreadable: it is no archive, is encrypted, or a document in it is broken.
        TooLarge: it unpacks to more than a document can be, or holds more than 1,000 files.
    """
    builder, unread = TextBuilder(), []
    with unzipped(content, _BROKEN) as archive:
        entries = [entry for entry in archive.infolist() if not _is_by_the_way(entry)]
        if len(entries) > _MOST_FILES:
            raise TooLarge(f"An archive has at most {_MOST_FILES} files; split it.")
        for entry in entries:
            name = entry.filename.replace("\\", "/").lstrip("/")
            if not add_part(builder, name, _read(archive, entry), without=("zip",)):
                unread.append(name)
    if not builder.has_text:
        raise DocumentUnreadable("The archive holds no document that is read.")
    add_unread(builder, unread)
    return builder.build()


def _is_by_the_way(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry is a folder, or what an operating system leaves in archives."""
    parts = entry.filename.replace("\\", "/").split("/")
    return entry.is_dir() or "__MACOSX" in parts or parts[-1].startswith(".")


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    if entry.flag_bits & 1:
        raise DocumentUnreadable("The archive is protected by a password.")
    try:
        return archive.read(entry)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, OSError,
            zlib.error) as error:  # fmt: skip
        raise DocumentUnreadable(_BROKEN) from error
