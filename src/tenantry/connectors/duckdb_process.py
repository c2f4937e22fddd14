"""Processes that run DuckDB: one a job, confined, killed afterwards (CON-3).

Threat: SQL or a file uses up the server, reads what is not the tenant's, or takes DuckDB over.
Invariant: a process serves one job of one tenant and dies with it. It has no environment, opens
only the files whose descriptors it was given, and what it sends back is bounded and checked here.

Starting Python and loading DuckDB takes four fifths of a short query. So one spare process waits
that has done this and nothing else: it knows no tenant until the one job that it is taken for.
"""

import asyncio
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass

import orjson

from tenantry.connectors.slots import Slots
from tenantry.core.errors import QueryFailed, StoreUnavailable
from tenantry.core.events import Json
from tenantry.core.sandbox import Limits
from tenantry.isolation.context import TenantContext

_PROGRAM = "tenantry.connectors.duckdb_child"
_CHUNK_BYTES = 64 * 1024
_ENDED = "The process that ran the query ended before it was done; it may have run out of memory."


class LineTooLong(Exception):
    """A single line is longer than everything that may be sent."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a process is to do, and the files it may open for it."""

    work: Mapping[str, Json]
    descriptors: Sequence[int]


class DuckDbProcess:
    """A running process; `start` makes one, `kill` must follow."""

    def __init__(self, process: asyncio.subprocess.Process, channel: socket.socket) -> None:
        self._process = process
        self._channel = channel

    @classmethod
    async def start(cls, limits: Limits) -> "DuckDbProcess":
        """Start one; it loads DuckDB on its own time and then waits for its job.

        Raises:
            StoreUnavailable: the operating system gives no process or descriptors.
        """
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise StoreUnavailable("No query process can be started just now.") from error
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-m", _PROGRAM, *limits.arguments(),
                stdin=theirs.fileno(),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={},
                cwd="/",
            )  # fmt: skip
        except BaseException as error:
            ours.close()
            if isinstance(error, OSError):
                raise StoreUnavailable("No query process can be started just now.") from error
            raise
        finally:
            theirs.close()
        return cls(process, ours)

    @property
    def pid(self) -> int:
        """The operating system's id of the process."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it still runs, as far as is known."""
        return self._process.returncode is None

    def send(self, job: Job) -> None:
        """Give it its one job.

        Raises:
            QueryFailed: it ended before it had one, or the job is too large.
        """
        text = orjson.dumps(job.work) + b"\n"
        self._channel.setblocking(False)
        try:
            sent = socket.send_fds(self._channel, [text], list(job.descriptors))
        except OSError as error:
            raise QueryFailed(_ENDED) from error
        if sent != len(text):
            raise QueryFailed("The query is too long.")

    async def lines(self, most_bytes: int) -> AsyncGenerator[bytes]:
        """Lines it writes, until it ends.

        Raises:
            LineTooLong: a line has more than `most_bytes`; it is not kept in memory.
        """
        stream = self._process.stdout
        if stream is None:
            return
        text = bytearray()
        while chunk := await stream.read(_CHUNK_BYTES):
            *complete, rest = chunk.split(b"\n")
            for line in complete:
                yield bytes(text) + line
                text.clear()
            text += rest
            if len(text) > most_bytes:
                raise LineTooLong

    async def kill(self) -> None:
        """End it at once, whatever it does; ending it twice is no error."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
        self._channel.close()
        stream = self._process.stdout
        while stream is not None and await stream.read(_CHUNK_BYTES):
            pass  # what it still wrote, so that its pipe is closed as well
        await self._process.wait()


class DuckDbProcesses:
    """Lends processes to tenants, one job each."""

    def __init__(self, limits: Limits, slots: Slots, *, keep_spare: bool) -> None:
        self._limits = limits
        self._slots = slots
        self._keep_spare = keep_spare
        self._spare: DuckDbProcess | None = None
        self._refill: asyncio.Task[None] | None = None
        self._is_closed = False

    @asynccontextmanager
    async def lend(self, ctx: TenantContext) -> AsyncIterator[DuckDbProcess]:
        """A process for one job of this tenant; it is dead when the block ends.

        Waits while the tenant, or all together, have as many as they may.

        Raises:
            StoreUnavailable: the operating system gives none.
        """
        async with self._slots.hold(ctx.tenant):
            spare, self._spare = self._spare, None
            if spare is not None and not spare.is_alive:
                await spare.kill()
                spare = None
            process = spare or await DuckDbProcess.start(self._limits)
            try:
                yield process
            finally:
                await process.kill()
                self.warm()

    def warm(self) -> None:
        """See to it that a spare process waits; returns at once."""
        busy = self._refill is not None and not self._refill.done()
        if self._keep_spare and not self._is_closed and self._spare is None and not busy:
            self._refill = asyncio.create_task(self._start_spare())

    async def close(self) -> None:
        """End the spare process."""
        self._is_closed = True
        if self._refill is not None:
            await asyncio.gather(self._refill, return_exceptions=True)
        if self._spare is not None:
            await self._spare.kill()
            self._spare = None

    async def _start_spare(self) -> None:
        with suppress(StoreUnavailable):  # the next query starts its own, and says so if it cannot
            self._spare = await DuckDbProcess.start(self._limits)


async def answers(process: DuckDbProcess, most_bytes: int) -> AsyncGenerator[Json]:
    """What the process sends back, up to and without its `end`.

    Raises:
        QueryFailed: the source rejected the job, or the process ended before its `end`.
        LineTooLong: a single value is larger than `most_bytes`.
    """
    async with aclosing(process.lines(most_bytes)) as lines:
        async for line in lines:
            try:
                answer = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise QueryFailed(_ENDED) from error
            if isinstance(answer, dict) and "error" in answer:
                raise QueryFailed(_cleaned(answer))
            if isinstance(answer, dict) and answer.get("end"):
                return
            yield answer
    raise QueryFailed(_ENDED)


def _cleaned(answer: Mapping[str, Json]) -> str:
    """The source's message without the excerpt of the statement that DuckDB appends to it."""
    if answer["error"] == "sandbox":
        return "The process that runs queries could not be confined; see `tenantry doctor`."
    message = str(answer.get("message", "")).split("\n\nLINE ", 1)[0].split("\nLINE ", 1)[0]
    return " ".join(message.split())[:600] or _ENDED
