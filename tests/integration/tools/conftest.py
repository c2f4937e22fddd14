"""Both tenants with documents, data and a verified query, and the tools of a session."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from tenantry.connectors.base import ConnectorConfig
from tenantry.connectors.catalog import ConnectorCatalog, NewConnector
from tenantry.connectors.file_store import FileStore, TableUpload
from tenantry.connectors.result_files import ResultFiles
from tenantry.isolation.context import TenantContext
from tenantry.jobs.jobs import Jobs
from tenantry.knowledge.ingest import Ingestor, Upload
from tenantry.knowledge.retrieve import Retriever
from tenantry.memory.patterns import Patterns
from tenantry.metering.ledger import Ledger
from tenantry.metering.prices import PriceBook, PriceRow, PriceVersion
from tenantry.tools.executor import Ceilings, Executed, ToolExecutor
from tenantry.tools.toolbox import TOOL_NAMES, Toolbox, ToolServices
from tests.embedders import embedders
from tests.integration.memory.words import WordEmbedder
from tests.sources.json_api import DOCUMENT, json_api
from tests.sources.lent import lent
from tests.worlds import World

CANARY = "tcn_globex_7Q9X"
QUESTION = "What was our best month?"
_BOOK = PriceVersion.of(
    1, datetime(2025, 1, 1, tzinfo=UTC), [PriceRow("embedded", "*", "input_token", 10)]
)


@dataclass
class Workshop:
    """Everything that the tools work with, and what both tenants have in it."""

    world: World
    services: ToolServices
    files: FileStore
    acme_data: ConnectorConfig
    globex_data: ConnectorConfig

    def tools(
        self,
        ctx: TenantContext,
        names: Sequence[str] = TOOL_NAMES,
        ceilings: Ceilings | None = None,
    ) -> ToolExecutor:
        """The tools of a new session."""
        return Toolbox(self.services, ceilings).bind(ctx, names)

    async def call(self, tools: ToolExecutor, name: str, **arguments: Any) -> Executed:
        """A call as a model writes it."""
        return await tools.run(name, json.dumps(arguments))

    async def refusals(self, ctx: TenantContext) -> list[dict[str, Any]]:
        """Events of refusals in the tenant's audit log."""
        events = await self.world.audit_events(ctx)
        return [event for event in events if event["outcome"] == "refused"]


@pytest.fixture
async def orders_api() -> AsyncIterator[str]:
    """Where both tenants' API is; each has a path of its own there."""
    async with json_api() as url:
        yield url


@pytest.fixture
async def workshop(world: World, orders_api: str) -> AsyncIterator[Workshop]:
    """Acme sold most in May and refunds within 14 days; globex in July and within 21."""
    ledger = Ledger(world.db, world.writer, PriceBook([_BOOK]), world.clock)
    embedder = WordEmbedder()
    every = embedders(world.db, embedder, world.clock)
    services_lent = lent(world, egress_allow="127.0.0.1/32")
    catalog, files = ConnectorCatalog(services_lent), FileStore(services_lent, 1 << 20)
    patterns = Patterns(world.db, embedder, ledger, world.audit)
    ingestor = Ingestor(
        world.db,
        every,
        ledger,
        world.audit,
        Jobs(world.db, world.audit),
        max_bytes=1 << 20,
    )
    stock = {}
    for ctx, month, days, mark in (
        (world.acme, "May", 14, "acme"),
        (world.globex, "July", 21, CANARY),
    ):
        handbook = f"# Refunds\n\nCustomers may return goods within {days} days, says {mark}.\n"
        await ingestor.ingest(ctx, Upload("handbook.md", "text/markdown", handbook.encode()))
        data = (await catalog.create(ctx, NewConnector("warehouse", "files"))).config
        table = f"month,sold,note\n{month},9,{mark}\nJune,3,\n"
        upload = TableUpload("sales", table.encode(), f"Sales, {mark}.", {"sold": "pieces"})
        await files.add(ctx, data.connector, upload)
        sql = f"SELECT month FROM sales WHERE note = '{mark}'"
        await patterns.add(ctx, data.connector, QUESTION, sql)
        options: dict[str, Any] = {"document": DOCUMENT, "base_url": f"{orders_api}/{mark}"}
        await catalog.create(ctx, NewConnector("orders", "http", options))
        stock[ctx.tenant] = data
    retriever = Retriever(world.db, every, ledger, world.clock)
    services = ToolServices(
        catalog, ResultFiles(world.db), retriever, patterns, world.audit, world.clock
    )
    acme_data, globex_data = stock[world.acme.tenant], stock[world.globex.tenant]
    yield Workshop(world, services, files, acme_data, globex_data)
    await files.close()
    await catalog.close()
