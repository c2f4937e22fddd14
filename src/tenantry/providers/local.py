"""A model in a GGUF file, run in this process by llama.cpp (extra `local`).

Threat: llama.cpp's server opens a port of its own, and keeps prompts in a cache that the next
call, another tenant's, could be timed against.
Invariant: the port answers nobody (a key that is thrown away), and no prompt outlives its call.
"""

import asyncio
import secrets
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tenantry.core.errors import ProviderRejected, ProviderUnavailable, StartupRefused
from tenantry.providers.base import ChatRequest, Chunk, TextDelta
from tenantry.providers.openai_compatible import PartialAnswer, chat_body

_GGUF = b"GGUF"
_SLOTS = 2
_MOST_WAITING_CHUNKS = 4096


class LlamaServer(Protocol):
    """What is used of `xllamacpp.Server`."""

    def handle_chat_completions(
        self, prompt: dict[str, Any], callback: Callable[[dict[str, Any]], bool]
    ) -> object:
        """Run a chat completion in this thread; `callback` gets each chunk, True stops it."""
        ...


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A GGUF file.

    Attributes:
        path: where it is.
        context_tokens: prompt and answer together, for each of the calls that run at once.
    """

    path: Path
    context_tokens: int = 4096


class LocalModel:
    """`ChatModel` over a GGUF file; loaded with the first call, in a thread."""

    def __init__(
        self, file: LocalFile, load: Callable[[LocalFile], LlamaServer] | None = None
    ) -> None:
        self._file = file
        self._load = load or load_server
        self._server: LlamaServer | None = None
        self._loading = threading.Lock()
        self._slots = asyncio.Semaphore(_SLOTS)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        """Text deltas in order, then exactly one `Finished`; see `ChatModel.stream`."""
        body = chat_body(request, "max_tokens") | {"cache_prompt": False}
        answer = PartialAnswer()
        async with self._slots, aclosing(self._chunks(body)) as chunks:
            async for chunk in chunks:
                if text := answer.take(chunk):
                    yield TextDelta(text)
        yield answer.finished()

    async def close(self) -> None:
        """Let go of the model."""
        server, self._server = self._server, None
        if server is not None:
            # Its destructor waits for what is running.
            holder = [server]
            del server
            await asyncio.to_thread(holder.clear)

    async def _chunks(self, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """What llama.cpp's thread says, in this loop; closing tells it to stop, and waits."""
        relay = _Relay(asyncio.get_running_loop())
        running = asyncio.create_task(asyncio.to_thread(self._run, body, relay))
        try:
            while (chunk := await relay.chunks.get()) is not None:
                yield chunk
            await running
        finally:
            relay.stopped = True
            await asyncio.shield(asyncio.wait([running]))

    def _run(self, body: dict[str, Any], relay: "_Relay") -> None:
        try:
            self._ready().handle_chat_completions(body, relay.take)
        except (ValueError, RuntimeError) as error:
            # llama.cpp's own words may quote the prompt.
            raise ProviderRejected("The local model refused the request.") from error
        finally:
            relay.put(None)

    def _ready(self) -> LlamaServer:
        with self._loading:
            server = self._server
            if server is None:
                server = self._server = self._load(self._file)
        return server


class _Relay:
    """Hands chunks from llama.cpp's thread to the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.chunks: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.stopped = False
        self._loop = loop

    def take(self, chunk: dict[str, Any]) -> bool:
        """Pass a chunk on; whether to stop."""
        self.put(chunk)
        return self.stopped or self.chunks.qsize() > _MOST_WAITING_CHUNKS

    def put(self, chunk: dict[str, Any] | None) -> None:
        """Pass on a chunk, or None for the end."""
        self._loop.call_soon_threadsafe(self.chunks.put_nowait, chunk)


def check_file(file: LocalFile) -> None:
    """Refuse a file that llama.cpp could not even begin to read.

    Raises:
        StartupRefused: it is missing, or no GGUF.
    """
    try:
        with file.path.open("rb") as opened:
            begins = opened.read(len(_GGUF))
    except OSError as error:
        raise StartupRefused(f"The model file {file.path} cannot be read.") from error
    if begins != _GGUF:
        raise StartupRefused(f"{file.path} is not a GGUF file.")


def load_server(file: LocalFile) -> LlamaServer:
    """Load the model; seconds of blocking work.

    Raises:
        ProviderUnavailable: the extra is not installed, or llama.cpp cannot load the file.
    """
    try:
        import xllamacpp  # an optional extra, and 100 MB of native code
    except ImportError as error:
        raise ProviderUnavailable(
            "Local models need the extra `local`: pip install 'tenantry[local]'."
        ) from error
    parameters = xllamacpp.CommonParams()
    settings: Mapping[str, Any] = {
        "n_ctx": file.context_tokens * _SLOTS,
        "n_parallel": _SLOTS,
        "api_keys": [secrets.token_urlsafe(32)],  # nobody learns it: the port is for nobody
        "cache_prompt": False,
        "cache_ram_mib": 0,
        "endpoint_slots": False,
        "endpoint_props": False,
        "endpoint_metrics": False,
        "ui": False,
        "verbosity": -1,
        "warmup": False,
    }
    for name, value in settings.items():
        setattr(parameters, name, value)
    parameters.model.path = str(file.path)
    try:
        server: LlamaServer = xllamacpp.Server(parameters)
    except (ValueError, RuntimeError, OSError) as error:
        raise ProviderUnavailable("The local model cannot be loaded.") from error
    return server
