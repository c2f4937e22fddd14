"""A real HTTP server that answers as an API, and a catalogue that may reach the loopback."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from tenantry.connectors.base import ConnectorServices, OperationSource
from tenantry.connectors.catalog import Added, ConnectorCatalog, NewConnector
from tenantry.core.secret import Secret
from tenantry.isolation.context import TenantContext
from tests.sources.lent import lent
from tests.unit.connectors.openapi import SHOP
from tests.worlds import World

TOKEN = "tok-3f9a/acme+secret=="
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Api:
    """A server on the loopback; what it was asked, and what it answers."""

    url: str = ""
    seen: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    handler: Handler | None = None

    @property
    def calls(self) -> list[web.Request]:
        """Requests that were no probe."""
        return [request for request in self.seen if request.method != "HEAD"]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer as the test says, or with what was asked."""
        self.seen.append(request)
        self.bodies.append(await request.read())
        if self.handler is not None and request.method != "HEAD":
            return await self.handler(request)
        return web.json_response({"path": request.raw_path, "orders": [{"id": 1, "total": "9.50"}]})

    def answers(self, *, status: int = 200, **said: Any) -> None:
        """Answer everything with this."""

        async def handler(request: web.Request) -> web.StreamResponse:
            return web.Response(status=status, **said)

        self.handler = handler


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[], Awaitable[Api]]]:
    """Starts servers."""
    runners: list[web.AppRunner] = []

    async def start() -> Api:
        api = Api()
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", r"/{path:[\s\S]*}", api.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return api

    yield start
    for runner in runners:
        await runner.cleanup()
    await asyncio.sleep(0)


@pytest.fixture
async def api(serve: Callable[[], Awaitable[Api]]) -> Api:
    """One server."""
    return await serve()


@dataclass
class Desk:
    """Where tenants add and open connectors to the API."""

    world: World
    services: ConnectorServices
    catalog: ConnectorCatalog
    api: Api

    def options(self, **changed: Any) -> dict[str, Any]:
        """Options of a connector to the shop's API, with something else in place."""
        right = {"document": deepcopy(SHOP), "base_url": f"{self.api.url}/v1"}
        return {name: value for name, value in {**right, **changed}.items() if value is not None}

    async def add(
        self, ctx: TenantContext, secrets: Mapping[str, str] | None = None, **changed: Any
    ) -> Added:
        """Add a connector `shop`."""
        given = {name: Secret(text) for name, text in (secrets or {}).items()}
        new = NewConnector("shop", "http", self.options(**changed), given)
        return await self.catalog.create(ctx, new)

    async def source(
        self, secrets: Mapping[str, str] | None = None, **changed: Any
    ) -> OperationSource:
        """A connector of acme's, added and opened."""
        added = await self.add(self.world.acme, secrets, **changed)
        return self.catalog.operation_source(self.world.acme, added.config)

    async def refusals(self, ctx: TenantContext) -> list[dict[str, Any]]:
        """The tenant's audit events of refusals."""
        return [e for e in await self.world.audit_events(ctx) if e["outcome"] == "refused"]


@pytest.fixture
async def desk(world: World, api: Api) -> AsyncIterator[Desk]:
    """A catalogue that knows the kind, whose egress may reach 127.0.0.1."""
    services = lent(world, egress_allow="127.0.0.1/32")
    catalog = ConnectorCatalog(services)
    yield Desk(world, services, catalog, api)
    await catalog.close()
    await services.pools.close()


def text(value: Any) -> str:
    """A value as JSON text, to look for something in it."""
    return json.dumps(value, default=str)
