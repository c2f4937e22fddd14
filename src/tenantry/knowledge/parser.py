"""Parses a document in a single-use process with ceilings on time and memory (VEC-3)."""

import asyncio
import json
import os
import sys
from typing import Any

from tenantry.core.errors import (
    DocumentUnreadable,
    InvalidRequest,
    TenantryError,
    TooLarge,
    UnsupportedMedia,
)
from tenantry.knowledge.formats import Format
from tenantry.knowledge.parse.parsed import ParsedDocument, Section

_TIMEOUT_S = 120.0
_MOST_TEXT = 50_000_000
_ERRORS: dict[str, type[TenantryError]] = {
    kind.__name__: kind for kind in (DocumentUnreadable, InvalidRequest, TooLarge, UnsupportedMedia)
}


async def parse(name: Format, content: bytes) -> ParsedDocument:
    """The document's text and sections.

    Raises:
        DocumentUnreadable: it is broken, empty of text, or took more time or memory than allowed.
        TooLarge: it unpacks to more than a document can be.
    """
    # The parent's environment may hold secrets; the child needs only to find its packages.
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tenantry.knowledge.parse.process", name,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            output, _ = await process.communicate(content)
    except TimeoutError as error:
        raise DocumentUnreadable("The document took too long to read.") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return _document(output)


def _document(output: bytes) -> ParsedDocument:
    try:
        answer: dict[str, Any] = json.loads(output)
    except ValueError as error:
        raise DocumentUnreadable(
            "The document could not be read within the limits of memory and time."
        ) from error
    if "error" in answer:
        raise _ERRORS.get(answer["error"], DocumentUnreadable)(answer["message"])
    found = answer["document"]
    if len(found["text"]) > _MOST_TEXT:
        raise TooLarge(f"A document has at most {_MOST_TEXT} characters of text.")
    sections = tuple(Section(**section) for section in found["sections"])
    return ParsedDocument(found["text"], sections, found["pages"], found["title"])
