"""Opens what is a ZIP inside, as Office's documents are; bombs are refused unopened."""

import io
import zipfile

from tenantry.core.errors import DocumentUnreadable, TooLarge

MOST_UNPACKED = 200 * 1024 * 1024
"""Bytes that an archive may unpack to."""
_MOST_RATIO = 200
_RATIO_FROM = 1_000_000


def unzipped(content: bytes, broken: str) -> zipfile.ZipFile:
    """The archive, whose entries say that they are of a size that can be.

    Args:
        content: the file.
        broken: what to say when it is none.

    Raises:
        DocumentUnreadable: it is no archive.
        TooLarge: it unpacks to more than a document can be.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise DocumentUnreadable(broken) from error
    # What an entry says is what the zip module reads of it at most.
    unpacked = sum(entry.file_size for entry in archive.infolist())
    packed = sum(entry.compress_size for entry in archive.infolist()) or 1
    if unpacked > MOST_UNPACKED or (unpacked > _RATIO_FROM and unpacked / packed > _MOST_RATIO):
        raise TooLarge("The document unpacks to far more than its own size.")
    return archive
