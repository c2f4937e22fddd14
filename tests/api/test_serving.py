"""The socket and the loop that requests come in by."""

import asyncio
import contextlib
import socket

from tenantry.api.serving import listening, run


def test_what_is_written_leaves_at_once() -> None:
    listener = listening("127.0.0.1", 0)
    with contextlib.closing(listener), socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_server_runs_on_the_fast_loop() -> None:
    loops = []

    async def work() -> None:
        loops.append(type(asyncio.get_running_loop()).__module__)

    run(work())
    assert loops == ["uvloop"]
