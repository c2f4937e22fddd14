"""A real MCP server of an order desk, made with the official SDK: over HTTP, or as a program."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

_ORDERS = [("north", "120.50"), ("south", "99.00"), ("north", "30.00")]


def order_desk() -> MCPServer:
    """A server that looks orders up and takes new ones."""
    server = MCPServer("orders")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def find_orders(region: str, limit: int = 10) -> dict[str, Any]:
        """Orders of a region."""
        found = [total for where, total in _ORDERS if where == region]
        return {"region": region, "totals": found[:limit]}

    @server.tool()
    def create_order(sku: str, account_id: str) -> str:
        """Order something on an account."""
        return f"ordered {sku} for {account_id}"

    @server.tool()
    def break_down() -> str:
        """Goes wrong."""
        raise ValueError("the desk is closed")

    return server


@contextmanager
def order_desk_over_http() -> Iterator[str]:
    """Its URL, for as long as the block runs; it has a thread and a loop of its own."""
    import uvicorn

    app = order_desk().streamable_http_app()
    config = uvicorn.Config(app, "127.0.0.1", 0, log_level="critical", ws="none", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        server.should_exit = True
        thread.join()


if __name__ == "__main__":
    order_desk().run("stdio")
