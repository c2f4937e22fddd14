"""Sends bytes as they come, and stops the work behind them when the client goes away."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, Protocol, TypeVar, cast

import orjson
from starlette.types import Receive, Send

Headers = Sequence[tuple[bytes, bytes]]
T = TypeVar("T")


_UNWATCHED_S = 0.1
"""What is answered sooner is not worth a task that watches its client."""


class Leaving(Protocol):
    """What to do with work whose client has left."""

    def begin(self) -> float:
        """Seconds that it may go on."""
        ...

    def end(self) -> None:
        """It has ended."""
        ...


async def while_connected(
    receive: Receive, work: Coroutine[Any, Any, None], leaving: Leaving | None = None
) -> None:
    """Run `work`; cancel it when the client disconnects, and return once it has cleaned up.

    With `leaving`, the work may go on for a moment before it is cancelled; what it sends is lost.
    """
    task = cast("asyncio.Task[None]", asyncio.current_task())  # a coroutine runs in one
    watch = _Watch(receive, task, leaving)
    try:
        await work
    except asyncio.CancelledError:
        if not watch.has_cancelled:
            raise
        task.uncancel()
    finally:
        watch.end()


class _Watch:
    """Watches whether a client is still there, while a task works for it."""

    def __init__(
        self, receive: Receive, task: "asyncio.Task[None]", leaving: Leaving | None
    ) -> None:
        self.has_cancelled = False
        self._receive = receive
        self._task = task
        self._leaving = leaving
        self._watching: asyncio.Task[None] | None = None
        self._is_over = False
        self._next = task.get_loop().call_later(_UNWATCHED_S, self._begin)

    def end(self) -> None:
        """The work is done."""
        self._is_over = True
        self._next.cancel()
        if self._watching is not None:
            self._watching.cancel()
        if self._leaving is not None:
            self._leaving.end()

    def _begin(self) -> None:
        self._watching = self._task.get_loop().create_task(_disconnected(self._receive))
        self._watching.add_done_callback(self._seen)

    def _seen(self, watching: "asyncio.Task[None]") -> None:
        if self._is_over or watching.cancelled():
            return
        wait_s = self._leaving.begin() if self._leaving is not None else 0.0
        if wait_s:
            self._next = self._task.get_loop().call_later(wait_s, self._cancel)
        else:
            self._cancel()

    def _cancel(self) -> None:
        self.has_cancelled = True
        self._task.cancel()


async def result_while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T | None:
    """What `work` returns; None once the client has left, and then nobody reads an answer."""
    found: list[T] = []

    async def keep() -> None:
        found.append(await work)

    await while_connected(receive, keep())
    return found[0] if found else None


async def send_json(send: Send, status: int, body: object) -> None:
    """One JSON response."""
    content = orjson.dumps(body)
    length = (b"content-length", str(len(content)).encode())
    await _start(send, status, b"application/json", (length,))
    await send({"type": "http.response.body", "body": content})


async def send_whole(send: Send, media_type: str, body: bytes, headers: Headers = ()) -> None:
    """A response that is there already."""
    length = (b"content-length", str(len(body)).encode())
    await _start(send, 200, media_type.encode(), (length, *headers))
    await send({"type": "http.response.body", "body": body})


async def send_chunks(
    send: Send,
    media_type: str,
    chunks: AsyncGenerator[bytes, None] | AsyncIterator[bytes],
    headers: Headers = (),
) -> None:
    """A response of unknown length, piece by piece.

    The head goes out with the first piece: an error before it can still become a problem.
    """
    started = False
    async with aclosing(_as_generator(chunks)) as pieces:
        async for piece in pieces:
            if not started:
                await _start(send, 200, media_type.encode(), headers)
                started = True
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    if not started:
        await _start(send, 200, media_type.encode(), headers)
    await send({"type": "http.response.body", "body": b""})


def event(data: object) -> bytes:
    """One server-sent event with a JSON document."""
    return b"data: " + orjson.dumps(data) + b"\n\n"


DONE = b"data: [DONE]\n\n"


async def _start(send: Send, status: int, media_type: bytes, headers: Headers) -> None:
    sent = [(b"content-type", media_type), *headers]
    await send({"type": "http.response.start", "status": status, "headers": sent})


async def _as_generator(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    try:
        async for chunk in chunks:
            yield chunk
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
