"""A real HTTP server that speaks MCP as a test tells it to: well, badly, or not at all."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request, Mapping[str, Any]], Awaitable[web.StreamResponse]]
SEARCH: Mapping[str, Any] = {
    "name": "search",
    "description": "Search the desk.",
    "inputSchema": {
        "type": "object",
        "properties": {"text": {"type": "string"}, "limit": {"type": "integer", "maximum": 50}},
        "required": ["text"],
    },
    "annotations": {"readOnlyHint": True},
}


@dataclass
class RogueMcp:
    """Its address, what it was asked, and how it answers.

    Attributes:
        tools: what it lists.
        result: what a tool answers.
        on: how it answers a method otherwise than well.
    """

    url: str = ""
    tools: list[Mapping[str, Any]] = field(default_factory=lambda: [SEARCH])
    result: Mapping[str, Any] = field(
        default_factory=lambda: {"content": [{"type": "text", "text": "found"}]}
    )
    on: dict[str, Handler] = field(default_factory=dict)
    asked: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    runner: web.AppRunner | None = field(default=None, repr=False)

    async def is_left(self) -> None:
        """Returns when nobody is connected to it."""
        async with asyncio.timeout(5):
            server = self.runner.server if self.runner else None
            while server and server.connections:  # noqa: ASYNC110 - aiohttp tells nobody
                await asyncio.sleep(0.005)

    @property
    def calls(self) -> list[Mapping[str, Any]]:
        """Parameters of the tools that were called."""
        return [params for method, params in self.asked if method == "tools/call"]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.headers.append(dict(request.headers))
        if request.method != "POST":
            self.asked.append((request.method, {}))
            return web.Response(status=405)
        message = await request.json()
        method = message["method"]
        self.asked.append((method, message.get("params", {})))
        if method in self.on:
            return await self.on[method](request, message)
        return self.answer(message)

    def answer(self, message: Mapping[str, Any]) -> web.Response:
        """A right answer."""
        if "id" not in message:
            return web.Response(status=202)
        results: dict[str, Any] = {
            "initialize": {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "rogue", "version": "1"},
            },
            "tools/list": {"tools": list(self.tools)},
            "tools/call": self.result,
        }
        said: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
        if message["method"] in results:
            said["result"] = results[message["method"]]
        else:
            said["error"] = {"code": -32601, "message": "Method not found"}
        return web.Response(body=json.dumps(said), content_type="application/json")


@asynccontextmanager
async def rogue_mcp() -> AsyncIterator[RogueMcp]:
    """One on the loopback, for as long as the block runs."""
    rogue = RogueMcp()
    app = web.Application(client_max_size=1 << 24)
    app.router.add_route("*", "/mcp", rogue.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    rogue.runner = runner
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        rogue.url = f"http://127.0.0.1:{runner.addresses[0][1]}/mcp"
        yield rogue
    finally:
        await runner.cleanup()
