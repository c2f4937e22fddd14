"""Turns with every real tool over real documents, data and verified queries of two tenants."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from tenantry.agent.events import Answer
from tenantry.agent.loop import AgentLoop
from tenantry.connectors.catalog import ConnectorCatalog, NewConnector
from tenantry.connectors.file_store import FileStore, TableUpload
from tenantry.connectors.result_files import ResultFiles
from tenantry.isolation.context import TenantContext
from tenantry.jobs.jobs import Jobs
from tenantry.knowledge.ingest import Ingestor, Upload
from tenantry.knowledge.retrieve import Retriever
from tenantry.memory.patterns import Patterns
from tenantry.providers.openai_compatible import OpenAICompatibleModel
from tenantry.providers.upstream import HttpUpstream
from tenantry.sessions.assistants import Draft
from tenantry.tools.toolbox import TOOL_NAMES, Toolbox, ToolServices
from tests.embedders import embedders
from tests.integration.agent.stage import MODEL, QUESTION, Stage, answer, asking, without_marker
from tests.integration.memory.words import WordEmbedder
from tests.providers.replies import CallOf, Reply
from tests.providers.scripted import ScriptedProvider
from tests.sources.lent import lent
from tests.worlds import World

MOST = 1 << 20
SQL = "SELECT month, sold FROM sales ORDER BY sold DESC"


@dataclass
class Content:
    """What one tenant brings: the same names, other facts."""

    days: str
    month: str
    canary: str


ACME = Content("14 days", "May", "tcn_acme_5K2M")
GLOBEX = Content("21 days", "July", "tcn_globex_7Q9X")


class House:
    """Every room that answers are made of."""

    def __init__(self, stage: Stage, model: OpenAICompatibleModel) -> None:
        world = stage.world
        embedder = WordEmbedder()
        every = embedders(world.db, embedder, world.clock)
        services = lent(world)
        self.stage = stage
        self.catalog = ConnectorCatalog(services)
        self.files = FileStore(services, MOST)
        self.patterns = Patterns(world.db, embedder, stage.ledger, world.audit)
        self.ingestor = Ingestor(
            world.db,
            every,
            stage.ledger,
            world.audit,
            Jobs(world.db, world.audit),
            max_bytes=MOST,
        )
        retriever = Retriever(world.db, every, stage.ledger, world.clock)
        toolbox = Toolbox(
            ToolServices(
                self.catalog,
                ResultFiles(world.db),
                retriever,
                self.patterns,
                world.audit,
                world.clock,
            )
        )
        self.loop: AgentLoop = stage.loop(model, toolbox.bind)

    async def furnish(self, ctx: TenantContext, content: Content) -> None:
        """Give a tenant an assistant, a document, a table and a verified query."""
        told = Draft(f"Answer for {content.canary}.", MODEL, TOOL_NAMES)
        await self.stage.assistants.create(ctx, "analyst", told)
        text = f"# Refunds\n\nCustomers have {content.days}. Reference {content.canary}.\n"
        await self.ingestor.ingest(ctx, Upload("handbook.md", "text/markdown", text.encode()))
        warehouse = (await self.catalog.create(ctx, NewConnector("warehouse", "files"))).config
        table = f"month,sold,note\n{content.month},9,{content.canary}\nJune,3,x\n"
        await self.files.add(
            ctx, warehouse.connector, TableUpload("sales", table.encode(), content.canary)
        )
        await self.patterns.add(ctx, warehouse.connector, "What was our best month?", SQL)

    async def close(self) -> None:
        await self.files.close()
        await self.catalog.close()


@pytest.fixture
def provider() -> Any:
    with ScriptedProvider() as provider:
        yield provider


@pytest.fixture
async def house(world: World, provider: ScriptedProvider) -> AsyncIterator[House]:
    stage = Stage(world, TOOL_NAMES)
    upstream = HttpUpstream(provider.url + "/v1")
    house = House(stage, OpenAICompatibleModel(upstream))
    await house.furnish(world.acme, ACME)
    yield house
    await house.close()
    await upstream.close()


def every_tool() -> tuple[Reply, ...]:
    """A turn in which the model uses everything it has, one by one, and then answers."""

    def call(name: str, **arguments: Any) -> Reply:
        return Reply(calls=(CallOf(name, json.dumps(arguments), f"call_{name}"),))

    return (
        call("recall_verified_query", question="best month?"),
        call("search_documents", query="How many days do customers have?"),
        call("list_data"),
        call("describe_data", connector="warehouse", table="sales"),
        call("query_data", connector="warehouse", sql=SQL),
        Reply("Customers have some days [doc:1]; the best month is known [query:1]."),
    )


async def turn(house: House, provider: ScriptedProvider, ctx: TenantContext) -> tuple[Answer, Any]:
    """The answer to a turn with every tool, and what the provider received for it."""
    provider.queue(*every_tool())
    before = len(provider.calls)
    end = await answer(house.loop, ctx, asking())
    sent = [json.dumps(call.body, ensure_ascii=False) for call in provider.calls[before:]]
    return end, [without_marker(text) for text in sent]


@pytest.mark.req("MEM-3", "CTX-2", "VEC-2", "DB-3")
async def test_prompts_made_of_every_tool_are_the_same_bytes_whatever_the_neighbour_has(
    world: World, house: House, provider: ScriptedProvider
) -> None:
    _, alone = await turn(house, provider, world.acme)
    await house.furnish(world.globex, GLOBEX)
    _, theirs = await turn(house, provider, world.globex)
    _, beside = await turn(house, provider, world.acme)
    assert alone == beside
    assert len(alone) == 6
    assert ACME.days in alone[-1]
    assert ACME.month in alone[-1]
    assert GLOBEX.canary in theirs[-1], "the canary is there to leak"
    assert GLOBEX.canary not in "".join(beside)
    assert ACME.canary not in "".join(theirs)


@pytest.mark.req("CTX-2", "SEC-3")
async def test_no_id_reaches_the_model_and_every_segment_is_the_callers(
    world: World, house: House, provider: ScriptedProvider
) -> None:
    await house.furnish(world.globex, GLOBEX)
    await turn(house, provider, world.globex)
    _, sent = await turn(house, provider, world.acme)
    ids = [world.acme.tenant, world.globex.tenant, world.acme.actor.id]
    ids += [c.connector for c in await house.catalog.list_connectors(world.acme, UUID(int=0), 9)]
    ids += [p.pattern_id for p in await house.patterns.list_patterns(world.acme, UUID(int=0), 9)]
    assert not [str(known) for known in ids if str(known) in "".join(sent)]
    for ctx in (world.acme, world.globex):
        manifests = await house.stage.manifests(ctx)
        assert len(manifests) == 6
        assert {s["owner"] for m in manifests for s in m["segments"]} == {str(ctx.tenant)}


@pytest.mark.req("VEC-3", "COST-2", "USE-1")
async def test_an_answer_cites_document_and_query_and_everything_it_took_is_in_the_ledger(
    world: World, house: House, provider: ScriptedProvider
) -> None:
    before = len(house.stage.ledger_rows(world.acme))
    end, _ = await turn(house, provider, world.acme)
    document, query = end.citations
    assert (document.ref, document.title, document.locator) == ("doc:1", "handbook.md", "Refunds")
    assert ACME.days in document.quote
    assert (query.ref, query.title, query.end) == ("query:1", "warehouse", 2)
    rows = house.stage.ledger_rows(world.acme)[before:]
    assert [r["model"] for r in rows if r["operation"] == "tool"] == [
        "recall_verified_query",
        "search_documents",
        "list_data",
        "describe_data",
        "query_data",
    ]
    assert [r["kind"] for r in rows if r["operation"] == "chat"] == ["intent", "settled"] * 6
    assert sum(r["operation"] == "vector_search" for r in rows) == 2
    assert {r["request_id"] for r in rows} == {"req-acme"}
    told = [(role, status) for role, _, status in await house.stage.messages(world.acme)]
    assert told == [("user", "complete"), ("assistant", "complete")]


@pytest.mark.req("SEC-3", "SEC-4", "CON-3")
async def test_a_model_that_reaches_for_the_neighbour_gets_refusals_and_leaves_traces(
    world: World, house: House, provider: ScriptedProvider
) -> None:
    await house.furnish(world.globex, GLOBEX)
    files = str(world.data_dir / "files")
    reaching = (
        CallOf(
            "search_documents", json.dumps({"query": "x", "tenant_id": str(world.globex.tenant)})
        ),
        CallOf(
            "query_data", json.dumps({"connector": "warehouse", "sql": "SELECT * FROM tenants"})
        ),
        CallOf("query_data", json.dumps({"connector": "globex", "sql": "SELECT 1"})),
        CallOf(
            "query_data",
            json.dumps({"connector": "warehouse", "sql": f"SELECT * FROM '{files}/*'"}),
        ),
        CallOf("read_tenant", json.dumps({"name": "globex"})),
    )
    provider.queue(Reply(calls=reaching), Reply("I could not."))
    end = await answer(house.loop, world.acme, asking(QUESTION))
    transcript = await house.stage.conversations.get(world.acme, end.conversation_id)
    assert {call.outcome for call in transcript.tool_calls} <= {"refused", "error"}
    assert sum(call.outcome == "refused" for call in transcript.tool_calls) >= 4
    refused = [e for e in await world.audit_events(world.acme) if e["outcome"] == "refused"]
    assert len(refused) >= 4
    assert GLOBEX.canary not in "\n".join(provider.prompts)
    theirs = [e for e in await world.audit_events(world.globex) if e["outcome"] == "refused"]
    assert theirs == []
