"""Parses a document in a single-use process with ceilings on time, memory and output (VEC-3).

Threat: a hostile file takes over the process that reads it, or never lets it end.
Invariant: that process knows no secret, serves one document and dies with it; what it says is
read up to a ceiling and checked as foreign input.
"""

import asyncio
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from weakref import WeakValueDictionary

import orjson

from tenantry.core.errors import (
    DocumentUnreadable,
    InvalidRequest,
    StoreUnavailable,
    TenantryError,
    TooLarge,
    UnsupportedMedia,
)
from tenantry.core.ids import TenantId
from tenantry.isolation.context import TenantContext
from tenantry.knowledge.formats import Format
from tenantry.knowledge.parse.parsed import MOST_TEXT, ParsedDocument, Section

_PROGRAM = "tenantry.knowledge.parse.process"
_TIMEOUT_S = 120.0
_PROCESSES = 3
_PIECE = 256 * 1024
_MOST_OUTPUT = 4 * MOST_TEXT + 24 * 1024 * 1024
"""Bytes: the longest text at four a character, and its sections."""
_ERRORS: Mapping[str, type[TenantryError]] = {
    kind.__name__: kind for kind in (DocumentUnreadable, InvalidRequest, TooLarge, UnsupportedMedia)
}


class DocumentParser:
    """Starts parsing processes: few at a time, and one at a time for each tenant."""

    def __init__(self, processes: int = _PROCESSES, timeout_s: float = _TIMEOUT_S) -> None:
        self._slots = asyncio.Semaphore(processes)
        self._timeout_s = timeout_s
        self._turns: WeakValueDictionary[TenantId, asyncio.Lock] = WeakValueDictionary()

    async def parse(self, ctx: TenantContext, name: Format, content: bytes) -> ParsedDocument:
        """The document's text and sections.

        Raises:
            DocumentUnreadable: it is broken, empty of text, or took more time or memory than
                allowed.
            TooLarge: it unpacks to more than a document can be.
            StoreUnavailable: the operating system gives no process just now.
        """
        # Files that take their time hold back the tenant that sent them, and no other.
        turn = self._turns.setdefault(ctx.tenant, asyncio.Lock())
        async with turn, self._slots:
            output, status = await self._run(name, content)
        # A long document takes tenths of a second to check: too long for the event loop.
        return await asyncio.to_thread(_document, output, status)

    async def _run(self, name: Format, content: bytes) -> tuple[bytes, int]:
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-m", _PROGRAM, name,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={},  # ours may hold secrets
                cwd="/",
            )  # fmt: skip
        except OSError as error:
            raise StoreUnavailable("No document can be read just now.") from error
        try:
            async with asyncio.timeout(self._timeout_s):
                _, output = await asyncio.gather(_feed(process, content), _read(process))
                return output, await process.wait()
        except TimeoutError as error:
            raise DocumentUnreadable("The document took too long to read.") from error
        finally:
            if process.returncode is None:
                process.kill()
                await _drain(process)
                await process.wait()


async def _feed(process: asyncio.subprocess.Process, content: bytes) -> None:
    assert process.stdin is not None  # noqa: S101  # it was asked for
    with suppress(ConnectionError):  # the process ended first; its status says why
        process.stdin.write(content)
        await process.stdin.drain()
    process.stdin.close()


async def _read(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None  # noqa: S101  # it was asked for
    output = bytearray()
    while piece := await process.stdout.read(_PIECE):
        output += piece
        if len(output) > _MOST_OUTPUT:
            raise TooLarge("The document holds too much text; split it.")
    return bytes(output)


async def _drain(process: asyncio.subprocess.Process) -> None:
    # asyncio closes a pipe when its end is read, and calls a process ended when its pipes are
    # closed: without this, `wait` would not return after too much was said.
    assert process.stdout is not None  # noqa: S101  # it was asked for
    while await process.stdout.read(_PIECE):
        pass


def _document(output: bytes, status: int) -> ParsedDocument:
    """What the process said, believed only as far as it can be a document."""
    if status < 0:
        raise DocumentUnreadable("The document took more time or memory to read than allowed.")
    try:
        answer = orjson.loads(output)
        if "error" in answer:
            raise _ERRORS.get(answer["error"], DocumentUnreadable)(str(answer["message"])[:300])
        return _checked(answer["document"])
    except (ValueError, TypeError, KeyError) as error:
        raise DocumentUnreadable("The document is broken, or is not what its name says.") from error


def _checked(found: dict[str, Any]) -> ParsedDocument:
    text, pages = found["text"], found["pages"]
    if not isinstance(text, str) or len(text) > MOST_TEXT or type(pages) is not int:
        raise ValueError
    sections, end = [], 0
    for given in found["sections"]:
        heading, page = given["heading"], given["page"]
        before, start, end = end, given["start"], given["end"]
        if not isinstance(heading, str) or any(type(n) is not int for n in (page, start, end)):
            raise ValueError
        if not (before <= start < end <= len(text) and 1 <= page <= pages):
            raise ValueError
        sections.append(Section(heading, page, start, end))
    return ParsedDocument(text, tuple(sections), pages)
