"""Both tenants with a connector of files and tables of their own."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tenantry.connectors.base import ConnectorConfig, Source
from tenantry.connectors.catalog import ConnectorCatalog, NewConnector
from tenantry.connectors.data_tables import DataTable
from tenantry.connectors.file_store import FileStore, TableUpload
from tenantry.isolation.context import TenantContext
from tests.sources.lent import lent
from tests.worlds import World

FLIGHTS = (
    b"day,carrier,origin,delay,fare\n"
    b"2013-01-01,UA,EWR,2,120.50\n"
    b"2013-01-02,AA,JFK,30,99.00\n"
    b"2013-02-01,UA,JFK,NA,45.25\n"
)
ORDERS = b"order_id,customer,total\n1,Globex Canary,111.11\n2,Initech,222.22\n"


@dataclass
class Shelf:
    """The doors to connectors, and what both tenants have behind them."""

    world: World
    root: Path
    catalog: ConnectorCatalog
    files: FileStore
    acme_data: ConnectorConfig
    globex_data: ConnectorConfig
    flights: DataTable
    orders: DataTable

    async def source(self, ctx: TenantContext) -> Source:
        """The connector of this tenant, opened."""
        return await self.catalog.open(ctx, "data")

    def path(self, ctx: TenantContext, table: DataTable) -> Path:
        """Where a table's file is."""
        return self.root / str(ctx.tenant) / f"{table.stored_sha256.hex()}.parquet"


@pytest.fixture
async def shelf(world: World, tmp_path: Path) -> AsyncIterator[Shelf]:
    """Acme has flights, globex has orders; both in a connector called `data`."""
    root = tmp_path / "files"
    services = lent(world, root)
    catalog, files = ConnectorCatalog(services), FileStore(services, 2_000_000)
    acme_data = (await catalog.create(world.acme, NewConnector("data", "files"))).config
    globex_data = (await catalog.create(world.globex, NewConnector("data", "files"))).config
    flights = await files.add(
        world.acme,
        acme_data.connector,
        TableUpload("flights", FLIGHTS, "Departures.", {"delay": "minutes"}),
    )
    orders = await files.add(world.globex, globex_data.connector, TableUpload("orders", ORDERS))
    yield Shelf(world, root, catalog, files, acme_data, globex_data, flights, orders)
    await files.close()
    await catalog.close()
