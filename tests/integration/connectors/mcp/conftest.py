"""MCP servers, and a catalogue that may reach the loopback."""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tenantry.connectors.base import ConnectorServices, OperationSource
from tenantry.connectors.catalog import Added, ConnectorCatalog, NewConnector
from tenantry.core.secret import Secret
from tenantry.isolation.context import TenantContext
from tests.sources.lent import lent
from tests.sources.mcp_tools import order_desk_over_http
from tests.sources.rogue_mcp import RogueMcp, rogue_mcp
from tests.worlds import World


@pytest.fixture(scope="session")
def orders() -> Iterator[str]:
    """URL of a real server, made with the official SDK."""
    with order_desk_over_http() as url:
        yield url


@pytest.fixture
async def rogue() -> AsyncIterator[RogueMcp]:
    """A server that answers as it is told."""
    async with rogue_mcp() as rogue:
        yield rogue


@dataclass
class Desk:
    """Where tenants add and open connectors to MCP servers."""

    world: World
    services: ConnectorServices
    catalog: ConnectorCatalog

    async def add(
        self, ctx: TenantContext, secrets: Mapping[str, str] | None = None, **options: Any
    ) -> Added:
        """Add a connector `desk`."""
        given = {name: Secret(text) for name, text in (secrets or {}).items()}
        return await self.catalog.create(ctx, NewConnector("desk", "mcp", options, given))

    async def source(
        self, secrets: Mapping[str, str] | None = None, **options: Any
    ) -> OperationSource:
        """A connector of acme's, added and opened."""
        added = await self.add(self.world.acme, secrets, **options)
        return self.catalog.operation_source(self.world.acme, added.config)

    async def refusals(self, ctx: TenantContext) -> list[dict[str, Any]]:
        """The tenant's audit events of refusals."""
        return [e for e in await self.world.audit_events(ctx) if e["outcome"] == "refused"]


@pytest.fixture
async def desk(world: World) -> AsyncIterator[Desk]:
    """A catalogue whose egress may reach 127.0.0.1."""
    services = lent(world, egress_allow="127.0.0.1/32")
    catalog = ConnectorCatalog(services)
    yield Desk(world, services, catalog)
    await catalog.close()
    await services.pools.close()
