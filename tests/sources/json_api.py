"""A tenant's own HTTP API: a real server on the loopback, and the document that describes it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Orders", "version": "1"},
    "paths": {
        "/orders": {
            "get": {"operationId": "listOrders", "summary": "All orders."},
            "post": {"operationId": "createOrder", "summary": "A new order."},
        }
    },
}


async def _answer(request: web.Request) -> web.Response:
    return web.json_response({"orders": [{"of": request.path}]})


@asynccontextmanager
async def json_api() -> AsyncIterator[str]:
    """Its address; what it answers names the path that was asked for, and so the base URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", _answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
