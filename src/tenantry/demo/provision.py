"""Sets up the demo's tenants through the public API; running it again changes nothing.

What the API holds is compared with what should be there: missing things are added, leftovers of an
interrupted run are removed, and what somebody else added to the tenants is left alone.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import dataclass

from tenantry.demo.client import Client, accepted
from tenantry.demo.datasets import TableFile, plans, table_files
from tenantry.demo.script import (
    ASSISTANT,
    CONNECTOR,
    PLANTED_DOCUMENT,
    PLANTED_QUESTIONS,
    DemoTenant,
    handbooks,
)
from tenantry.demo.verified import verified_queries

Progress = Callable[[str], None]
_TOKEN_S = 3600


@dataclass(frozen=True, slots=True)
class Place:
    """A tenant of the demo, set up, and the members who act in it.

    Attributes:
        tenant: what it is.
        tenant_id: its id on the platform.
        admin: a member who may change everything.
        analyst: a member who asks.
        documents: how many it has; tables and queries likewise.
        added: how many things this run had to add.
    """

    tenant: DemoTenant
    tenant_id: str
    admin: Client
    analyst: Client
    documents: int
    tables: int
    queries: int
    added: int


def steps(tenant: DemoTenant) -> int:
    """How often `provision` reports progress for a tenant."""
    name = tenant.name
    return len(plans(name)) + len(handbooks(name)) + len(verified_queries(name))


async def provision(operator: Client, tenant: DemoTenant, progress: Progress) -> Place:
    """Set up a tenant: assistant, data files, handbook, verified queries.

    Args:
        operator: a client with an operator's key.
        tenant: what to set up.
        progress: called with the name of each thing once it is there.

    Raises:
        TenantryError: the server refused something.
        StartupRefused: a package that ships the data is not installed.
    """
    tenant_id = await _tenant_id(operator, tenant)
    admin = await member(operator, tenant, "demo-admin", "admin")
    await _ensure_assistant(admin, tenant)
    tables = await _ensure_tables(admin, tenant, progress)
    documents = await _ensure_documents(admin, tenant, progress)
    queries = await _ensure_queries(admin, tenant, progress)
    return Place(
        tenant=tenant,
        tenant_id=tenant_id,
        admin=admin,
        analyst=await member(operator, tenant, "demo-analyst", "analyst"),
        documents=len(handbooks(tenant.name)),
        tables=len(plans(tenant.name)),
        queries=len(verified_queries(tenant.name)),
        added=tables + documents + queries,
    )


async def member(operator: Client, tenant: DemoTenant, external_id: str, role: str) -> Client:
    """A client with a member's short-lived token, as the SaaS company's own backend gets it.

    Raises:
        TenantryError: the server refused.
    """
    body = {
        "tenant": tenant.name,
        "external_id": external_id,
        "role": role,
        "lifetime_s": _TOKEN_S,
    }
    minted = await operator.post("/v1/tokens", body)
    return operator.with_credential(minted["token"])


async def _tenant_id(operator: Client, tenant: DemoTenant) -> str:
    body = {"name": tenant.name, "owner": {"external_id": "demo-owner"}}
    created = await operator.call("POST", "/v1/tenants", json=body)
    if created.status == 409:
        return str((await operator.get(f"/v1/tenants/{tenant.name}"))["id"])
    return str(accepted(created, "Creating the tenant")["tenant"]["id"])


async def _ensure_assistant(admin: Client, tenant: DemoTenant) -> None:
    found = {a["name"]: a for a in await admin.list("/v1/assistants")}
    wanted = {"instructions": tenant.instructions, "model": "keyless"}
    current = found.get(ASSISTANT)
    if current is None:
        await admin.post("/v1/assistants", {"name": ASSISTANT, **wanted})
    elif any(current[key] != value for key, value in wanted.items()):
        await admin.post(f"/v1/assistants/{current['id']}/versions", wanted)


async def _ensure_tables(admin: Client, tenant: DemoTenant, progress: Progress) -> int:
    path = f"/v1/connectors/{await _connector_id(admin)}/tables"
    present = {t["name"]: t["sha256"] for t in (await admin.get(path))["data"]}
    added = 0
    async for file in _built_tables(tenant):
        if present.get(file.name) != file.sha256:
            if file.name in present:  # another version of the same table
                accepted(await admin.call("DELETE", f"{path}/{file.name}"), "Removing a table")
            reply = await admin.upload(
                path,
                file.filename,
                file.media_type,
                file.content,
                table=file.name,
                description=file.description,
            )
            accepted(reply, f"Uploading {file.filename}")
            added += 1
        progress(file.filename)
    return added


async def _built_tables(tenant: DemoTenant) -> AsyncIterator[TableFile]:
    # In a thread: converting a table takes up to a second, and the server may share this loop.
    with closing(table_files(tenant.name)) as files:
        while (file := await asyncio.to_thread(next, files, None)) is not None:
            yield file


async def _connector_id(admin: Client) -> str:
    for connector in await admin.list("/v1/connectors"):
        if connector["name"] == CONNECTOR:
            return str(connector["id"])
    created = await admin.post("/v1/connectors", {"name": CONNECTOR, "kind": "files"})
    return str(created["id"])


async def _ensure_documents(admin: Client, tenant: DemoTenant, progress: Progress) -> int:
    present = {d["id"]: d["title"] for d in await admin.list("/v1/documents")}
    wanted: dict[str, str] = {}
    for document in handbooks(tenant.name):
        # The same bytes give the same document back, so this adds nothing the second time.
        reply = await admin.upload(
            "/v1/documents", document.title, document.media_type, document.content
        )
        wanted[accepted(reply, f"Adding {document.title}")["id"]] = document.title
        progress(document.title)
    ours = {*wanted.values(), PLANTED_DOCUMENT}
    for leftover, title in present.items():
        if leftover not in wanted and title in ours:
            path = f"/v1/documents/{leftover}"
            accepted(await admin.call("DELETE", path), f"Removing an old {title}")
    return len(wanted.keys() - present.keys())


async def _ensure_queries(admin: Client, tenant: DemoTenant, progress: Progress) -> int:
    wanted = {query.question: query.sql for query in verified_queries(tenant.name)}
    present: set[str] = set()
    for pattern in await admin.list("/v1/patterns"):
        question = pattern["question"]
        if question not in present and wanted.get(question) == pattern["sql"]:
            present.add(question)
        elif question in wanted or question in PLANTED_QUESTIONS:
            path = f"/v1/patterns/{pattern['id']}"
            accepted(await admin.call("DELETE", path), "Removing an old verified query")
    for question, sql in wanted.items():
        if question not in present:
            body = {"connector": CONNECTOR, "question": question, "sql": sql}
            await admin.post("/v1/patterns", body)
        progress(question)
    return len(wanted.keys() - present)
