"""The measure of all others: uvicorn, a raw ASGI callable and aiohttp, passing bytes on.

Nothing is checked, counted or written. Run: python -m bench.gateway.bare PROVIDER_PORT; prints its
port.
"""

import asyncio
import socket
import sys
from typing import Any

import aiohttp
import uvicorn
import uvloop


class Bare:
    """Forwards every request to one provider."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/v1/chat/completions"
        self._client: aiohttp.ClientSession | None = None

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if self._client is None:
            self._client = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), auto_decompress=False
            )
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {"content-type": "application/json"}
        async with self._client.post(self._url, data=body, headers=headers) as response:
            kind = response.headers["content-type"].encode()
            head = {"type": "http.response.start", "status": response.status}
            await send({**head, "headers": [(b"content-type", kind)]})
            async for piece in response.content.iter_any():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


def main() -> None:
    """Serve until terminated."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(
        Bare(int(sys.argv[1])), lifespan="off", access_log=False, log_level="error", loop="uvloop",
        http="httptools",
    )  # fmt: skip
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    main()
