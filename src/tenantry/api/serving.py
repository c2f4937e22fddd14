"""Runs the application on a socket: uvicorn with uvloop's and httptools' speed, nothing else."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from tenantry.api.connection import bounded
from tenantry.api.server import build_app
from tenantry.core.loop_watch import LoopWatch
from tenantry.platform import Platform

_GRACE_S = 10


class _Server(uvicorn.Server):
    """Says when it answers, instead of being asked in a loop."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answering = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.answering.set()


class RunningServer:
    """A server that answers, until it is stopped or a signal ends it."""

    def __init__(self, server: uvicorn.Server, task: "asyncio.Task[None]", url: str) -> None:
        self._server = server
        self._task = task
        self.url = url

    def stop(self) -> None:
        """Finish the requests under way, for at most ten seconds, and take no more."""
        self._server.should_exit = True

    async def wait(self) -> None:
        """Return once the server has stopped."""
        await asyncio.shield(self._task)


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run the server's work on the fastest event loop that is installed (uvloop's, if any)."""
    factory = uvicorn.Config("", loop="auto").get_loop_factory()
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work)


def listening(host: str, port: int) -> socket.socket:
    """A socket whose connections send what is written at once, not with the next 40 ms.

    asyncio's own loop sets this only for sockets that name their protocol, which accepted ones
    of a listener do not.

    Raises:
        OSError: the address is taken or not ours.
    """
    listener = socket.create_server((host, port))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def keep_what_is_there() -> None:
    """Take what is in memory for what stays; for a process that does nothing but serve.

    To look through it again and again, as the collector of cycles does, would stop everybody for a
    tenth of a second each time.
    """
    gc.collect()
    gc.freeze()


@asynccontextmanager
async def serving(platform: Platform, host: str, port: int) -> AsyncIterator[RunningServer]:
    """Serve the platform; stops when the block ends.

    Args:
        platform: an open platform.
        host: address to listen on.
        port: port, or 0 for any free one; `url` tells which.

    Raises:
        OSError: the address is taken or not ours.
    """
    listener = listening(host, port)
    config = uvicorn.Config(
        build_app(platform),
        http=bounded(platform.settings.header_timeout_s),
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    ready = asyncio.create_task(server.answering.wait())
    await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    watch = LoopWatch()
    watch.start()
    try:
        yield RunningServer(server, task, f"http://{host}:{listener.getsockname()[1]}")
    finally:
        watch.stop()
        server.should_exit = True
        await task
        listener.close()
