"""Sends bytes as they come, and stops the work behind them when the client goes away."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, Protocol, TypeVar, cast

import orjson
from starlette.types import Receive, Send

Headers = Sequence[tuple[bytes, bytes]]
T = TypeVar("T")


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
    patience: asyncio.TimerHandle | None = None
    is_over = has_left = False

    def cancel() -> None:
        nonlocal has_left
        has_left = True
        task.cancel()

    def seen(watch: "asyncio.Task[None]") -> None:
        nonlocal patience
        if is_over or watch.cancelled():
            return
        if leaving is not None and (wait_s := leaving.begin()):
            patience = task.get_loop().call_later(wait_s, cancel)
        else:
            cancel()

    watch = asyncio.create_task(_disconnected(receive))
    watch.add_done_callback(seen)
    try:
        await work
    except asyncio.CancelledError:
        if not has_left:
            raise
        task.uncancel()
    finally:
        is_over = True
        watch.cancel()
        if patience is not None:
            patience.cancel()
        if leaving is not None:
            leaving.end()


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
