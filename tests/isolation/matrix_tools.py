"""What a model can reach with every tool bound to acme's session: its own, and the neighbour's."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from tenantry.knowledge.retrieve import Retriever
from tenantry.tools.toolbox import TOOL_NAMES, Toolbox, ToolServices
from tests.isolation.served import Estate, Tenant, made

HEAD = ("model:own", "model:nbr")


@dataclass(frozen=True)
class Source:
    """What a tenant has that tools could reach, under names that only it uses."""

    document: str
    connector: str
    api: str
    reached: str
    question: str


@dataclass(frozen=True)
class Call:
    """Arguments of a tool, and what is in its result if it reached the source."""

    arguments: Mapping[str, str]
    proof: str


def call_of(tool: str, source: Source) -> Call:
    """How a tool is called to reach a source.

    Raises:
        KeyError: nobody has said how yet: a tool must not be left out.
    """
    named = {"connector": source.connector}
    sql = "SELECT name, secret FROM items"
    return {
        "search_documents": Call({"query": source.document}, source.document),
        "list_data": Call({}, source.connector),
        "describe_data": Call({**named, "table": "items"}, source.connector),
        "query_data": Call({**named, "sql": sql}, f"secret of {source.connector}"),
        "describe_api": Call({"connector": source.api, "operation": "listOrders"}, source.api),
        "call_api": Call({"connector": source.api, "operation": "listOrders"}, source.reached),
        "make_chart": Call(
            {
                **named,
                "sql": "SELECT name, secret, 1 AS n FROM items",
                "kind": "bar",
                "x": "name",
                "y": "n",
                "title": "All",
            },
            "chart:1",
        ),
        "recall_verified_query": Call({"question": source.question}, source.connector),
    }[tool]


async def tool_rows(
    estate: Estate, tools: tuple[str, ...] = TOOL_NAMES
) -> dict[str, tuple[str, ...]]:
    """A row for every tool."""
    own, theirs = [await _source(tenant) for tenant in (estate.attacker, estate.victim)]
    platform = estate.service.platform
    ctx = await platform.authenticator.context(estate.attacker.owner.credential, "matrix", 300)
    retriever = Retriever(platform.db, platform.embedders, platform.ledger, platform.clock)
    services = ToolServices(
        platform.connectors,
        platform.results,
        retriever,
        platform.patterns,
        platform.audit,
        platform.clock,
    )
    executor = Toolbox(services).bind(ctx, tools)
    rows = {}
    for tool in tools:
        outcomes = []
        for source in (own, theirs):
            call = call_of(tool, source)
            ran = await executor.run(tool, json.dumps(call.arguments))
            if ran.outcome == "refused":
                outcomes.append("no")
            else:
                reached = call.proof in json.dumps(ran.result.content)
                outcomes.append("yes" if reached and not ran.result.is_error else "hidden")
        rows[tool] = tuple(outcomes)
    return rows


async def _source(tenant: Tenant) -> Source:
    name, question = tenant.fresh_name("source"), f"What does {tenant.name} hide, and where?"
    made(await tenant.owner.upload("/v1/documents", f"{name}.md", f"# {name}\n\n{name}.".encode()))
    connector = made(await tenant.owner.post("/v1/connectors", {"name": name, "kind": "files"}))
    rows = f"name,secret\none,secret of {name}\n".encode()
    path = f"/v1/connectors/{connector['id']}/tables"
    made(await tenant.owner.upload(path, "items.csv", rows, {"table": "items"}))
    sql = "SELECT count(*) AS n FROM items"
    body = {"connector": name, "question": question, "sql": sql}
    made(await tenant.owner.post("/v1/patterns", body))
    api = (await tenant.api())["name"]
    return Source(name, name, api, f"{tenant.name}only", question)
