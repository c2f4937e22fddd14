"""A served platform that the tests of one module share: a victim, an attacker, everybody's keys.

The victim (globex) is given everything an id can name, through the API as its own clients would
make it, so that an attack has something to reach.
"""

import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from tenantry.api.server import HOT_ROUTES, build_resources
from tenantry.platform import Platform
from tenantry.tools.call_api import CallApi
from tenantry.tools.references import References
from tests.providers.scripted import ScriptedProvider
from tests.service import Answer, ApiClient, Service
from tests.sources.json_api import DOCUMENT, json_api
from tests.worlds import Cluster

VERBS = frozenset({"get", "post", "put", "patch", "delete", "head", "options"})
CSV = b"id,name\n1,one\n2,two\n"
NOT_CONTENT = ("audit_events", "audit_heads", "budget_counters", "budget_leases")
"""Tables in which an attempt may leave its trace, and those that change with time alone."""


@dataclass(frozen=True, order=True)
class Operation:
    """One operation of the API: method and path as the OpenAPI document writes them."""

    path: str
    method: str

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of its path's parameters."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))

    @property
    def is_operators(self) -> bool:
        """Whether it is for operators' keys."""
        return self.path.startswith(("/v1/tenants", "/v1/operator", "/v1/tokens"))

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


CALL = Operation("/v1/connectors/{connector_id}/call", "POST")
ADD_ACCOUNT = Operation("/v1/provider-accounts", "POST")
READ_ROWS = Operation("/v1/operator/break-glass/rows", "POST")


def operations_of(openapi: Mapping[str, Any]) -> list[Operation]:
    """Every operation of an OpenAPI document."""
    return sorted(
        Operation(path, method.upper())
        for path, item in openapi["paths"].items()
        for method in item
        if method in VERBS
    )


def served_operations() -> list[Operation]:
    """Every operation that is served: the OpenAPI document's, and the hot routes beside it."""
    hot = [Operation(path, method) for method, path in HOT_ROUTES]
    return sorted({*operations_of(build_resources(None).openapi()), *hot})


@dataclass(frozen=True)
class Target:
    """A request's place and body, with the ids of one resource in it."""

    path: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Tenant:
    """A tenant's clients, one of each role, and a key that was revoked."""

    name: str
    tenant_id: UUID
    owner: ApiClient
    admin: ApiClient
    analyst: ApiClient
    viewer: ApiClient
    revoked: ApiClient
    operator: ApiClient
    api_url: str
    platform: Platform = field(repr=False)
    made: int = 0
    desk: str = ""
    talks: dict[str, UUID] = field(default_factory=dict, repr=False)

    def fresh_name(self, kind: str) -> str:
        """A name that only this tenant uses."""
        self.made += 1
        return f"{self.name}only-{kind}-{self.made}"

    async def member(self) -> str:
        """The id of a new viewer."""
        body = {"external_id": self.fresh_name("member"), "role": "viewer"}
        return str(made(await self.owner.post("/v1/members", body))["id"])

    async def key(self) -> str:
        """The id of a new key of the owner."""
        return str(made(await self.owner.post("/v1/keys", {"name": self.fresh_name("key")}))["id"])

    async def group(self) -> str:
        """The id of a new group."""
        return str(
            made(await self.owner.post("/v1/groups", {"name": self.fresh_name("group")}))["id"]
        )

    async def assistant(self) -> Mapping[str, Any]:
        """A new assistant."""
        body = {"name": self.fresh_name("assistant"), "instructions": "Be brief."}
        found: Mapping[str, Any] = made(await self.owner.post("/v1/assistants", body))
        return found

    async def conversation(self, client: ApiClient | None = None) -> str:
        """The id of a new conversation of the owner, or of another member."""
        answer = made(await (client or self.owner).ask(f"What of {self.fresh_name('question')}?"))
        return str(answer["tenantry"]["conversation_id"])

    async def document(self) -> str:
        """The id of a new document."""
        name = self.fresh_name("document")
        content = f"# {name}\n\nNobody else knows {name}.".encode()
        return str(made(await self.owner.upload("/v1/documents", f"{name}.md", content))["id"])

    async def connector(self) -> Mapping[str, Any]:
        """A new connector with one table, `items`."""
        body = {"name": self.fresh_name("connector"), "kind": "files"}
        found: Mapping[str, Any] = made(await self.owner.post("/v1/connectors", body))
        path = f"/v1/connectors/{found['id']}/tables"
        made(await self.owner.upload(path, "items.csv", CSV, {"table": "items"}))
        return found

    async def approval(self, client: ApiClient | None = None) -> str:
        """The id of a call that waits for the owner, or for another member: as a model asks."""
        if not self.desk:
            writing = {"operations": {"allow": ["createOrder"]}, "writes": "approval"}
            self.desk = (await self.api(**writing))["name"]
        client = client or self.owner
        if client.credential not in self.talks:
            self.talks[client.credential] = UUID(await self.conversation(client))
        conversation = self.talks[client.credential]
        ctx = await self.platform.authenticator.context(client.credential, "asks", 300)
        tool = CallApi(ctx, self.platform.connectors, References(conversation))
        (asked,) = (await tool.run(self.desk, "createOrder")).attachments
        return asked.approval_id

    async def api(self, **more: Any) -> Mapping[str, Any]:
        """A new connector of an HTTP API; without more options, with `listOrders` alone."""
        options = {"document": DOCUMENT, "base_url": self.api_url, **more}
        body = {"name": self.fresh_name("api"), "kind": "http", "options": options}
        found: Mapping[str, Any] = made(await self.owner.post("/v1/connectors", body))
        return found

    async def provider_account(self) -> Mapping[str, Any]:
        """A new account of its own at a model provider."""
        body = {
            "name": self.fresh_name("account"),
            "kind": "openai_compatible",
            "key": f"sk-{self.name}only-{secrets.token_hex(8)}",
            "base_url": self.api_url,
            "models": [{"name": "m"}],
        }
        found: Mapping[str, Any] = made(await self.owner.post("/v1/provider-accounts", body))
        return found

    async def ids_of(self, operation: "Operation") -> dict[str, str]:
        """A fresh resource for every parameter of an operation's path."""
        if operation == CALL:
            return {"connector_id": (await self.api())["id"]}
        if operation == ADD_ACCOUNT:
            return {"base_url": self.api_url}  # it is asked before the account is stored
        found: dict[str, str] = {}
        for parameter in operation.ids:
            found |= await self.ids_for(parameter)
        return found

    async def result(self, client: ApiClient | None = None) -> str:
        """The id of a new kept result of the owner, or of another member."""
        path = f"/v1/connectors/{(await self.connector())['id']}/query"
        body = {"sql": "SELECT * FROM items", "to_file": True}
        return str(made(await (client or self.owner).post(path, body))["file"]["id"])

    async def job(self) -> str:
        """The id of a new job, cancelled: nobody works in this world."""
        content = f"# {self.fresh_name('job')}\n\nText.".encode()
        found = made(await self.owner.upload("/v1/documents?wait=false", "job.md", content))
        made(await self.owner.call("PATCH", f"/v1/jobs/{found['id']}", json={"state": "cancelled"}))
        return str(found["id"])

    async def grant(self) -> Mapping[str, Any]:
        """A new break-glass grant of the operator on this tenant."""
        path = f"/v1/tenants/{self.tenant_id}/break-glass"
        found: Mapping[str, Any] = made(await self.operator.post(path, {"reason": "To be tried."}))
        return found

    async def budget(self) -> str:
        """The id of a new budget of its own, that nothing can reach."""
        body = {"scope": "model", "subject": self.fresh_name("model"), "hard_limit": 10**9}
        return str(made(await self.owner.call("PUT", "/v1/budgets", json=body))["id"])

    async def plan(self) -> str:
        """The id of a new budget of the operator's plan for it, that nothing can reach."""
        body = {"scope": "model", "subject": self.fresh_name("model"), "hard_limit": 10**9}
        path = f"/v1/tenants/{self.tenant_id}/budgets"
        return str(made(await self.operator.call("PUT", path, json=body))["id"])

    async def pattern(self) -> str:
        """The id of a new verified query."""
        connector = await self.connector()
        body = {
            "connector": connector["name"],
            "question": f"How many items has {self.fresh_name('pattern')}?",
            "sql": "SELECT count(*) FROM items",
        }
        return str(made(await self.owner.post("/v1/patterns", body))["id"])

    async def operators_ids(self, operation: Operation) -> dict[str, str]:
        """What an operator's operation names of this tenant: in its path, and a grant's token."""
        found: dict[str, str] = {}
        for parameter in operation.ids:
            found |= await self.ids_for(parameter)
        if "budget_id" in found:
            found["budget_id"] = await self.plan()
        if operation == READ_ROWS:
            found["token"] = (await self.grant())["token"]
        return found

    async def ids_for(self, parameter: str) -> dict[str, str]:
        """A fresh resource for a path's parameter: the ids that lead to it."""
        makers: dict[str, Callable[[], Awaitable[Any]]] = {
            "member_id": self.member,
            "key_id": self.key,
            "group_id": self.group,
            "assistant_id": self.assistant,
            "conversation_id": self.conversation,
            "document_id": self.document,
            "connector_id": self.connector,
            "pattern_id": self.pattern,
            "budget_id": self.budget,
            "provider_account_id": self.provider_account,
            "result_id": self.result,
            "approval_id": self.approval,
            "job_id": self.job,
            "grant_id": self.grant,
        }
        if parameter == "tenant_id":
            return {parameter: str(self.tenant_id)}
        if parameter == "model_name":
            return {parameter: (await self.assistant())["name"]}
        if parameter == "table":
            return {parameter: "items"}
        found = await makers[parameter]()
        return {parameter: found if isinstance(found, str) else found["id"]}


def made(answer: Answer) -> Any:
    """The body of an answer that succeeded; a resource that is not there proves nothing."""
    assert answer.status in {200, 201, 202}, answer
    return answer.body


@dataclass
class Estate:
    """The served platform and both tenants."""

    service: Service
    attacker: Tenant
    victim: Tenant

    @property
    def nobody(self) -> ApiClient:
        """A client without a credential."""
        return self.service.client()

    def tables(self) -> dict[str, bool]:
        """Every table of ours, and whether it has a tenant."""
        query = (
            "SELECT c.relname, EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid"
            " AND a.attname = 'tenant_id') FROM pg_class AS c"
            " WHERE c.relnamespace = 'tenantry'::regnamespace AND c.relkind IN ('r', 'p')"
        )
        with self.service.admin() as admin:
            return dict(admin.execute(query).fetchall())

    def fingerprint(self, tenant: Tenant) -> str:
        """Hash of a tenant's rows and files, but for its log and when its keys were used."""
        whole = hashlib.sha256()
        with self.service.admin() as admin:
            for table, has_tenant in sorted(self.tables().items()):
                if has_tenant and table not in NOT_CONTENT:
                    whole.update(_rows(admin, table, "WHERE tenant_id = %s", [tenant.tenant_id]))
        folder = self.service.platform.settings.files_dir / str(tenant.tenant_id)
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            whole.update(file.name.encode() + file.read_bytes())
        return whole.hexdigest()

    def whole_fingerprint(self) -> str:
        """The same over every tenant and the platform's own tables."""
        whole = hashlib.sha256()
        with self.service.admin() as admin:
            for table in sorted(self.tables().keys() - set(NOT_CONTENT)):
                whole.update(_rows(admin, table, "", []))
        return whole.hexdigest()

    def trace(self, tenant: Tenant) -> list[str]:
        """What a tenant's chain holds of refusals, oldest first."""
        query = (
            "SELECT action FROM tenantry.audit_events WHERE tenant_id = %s"
            " AND outcome = 'refused' ORDER BY seq"
        )
        with self.service.admin() as admin:
            return [action for (action,) in admin.execute(query, [tenant.tenant_id]).fetchall()]


def _rows(admin: psycopg.Connection[Any], table: str, where: str, values: list[UUID]) -> bytes:
    query = f"SELECT (to_jsonb(t) - 'last_used_at')::text FROM tenantry.{table} AS t {where}"
    rows = admin.execute(f"{query} ORDER BY 1".encode(), values).fetchall()
    return repr((table, rows)).encode()


@asynccontextmanager
async def estate(
    cluster: Cluster, data_dir: Path, providers_file: Path | None = None
) -> AsyncIterator[Estate]:
    """A served platform with the attacker acme and the victim globex.

    Without a providers file of the caller's, there are models that speak Anthropic's API.
    """
    async with (
        json_api() as api,
        AsyncExitStack() as stack,
    ):
        if providers_file is None:
            data_dir.mkdir(exist_ok=True)
            providers_file = data_dir / "providers.json"
            provider = stack.enter_context(ScriptedProvider())
            providers_file.write_text(json.dumps(provider.accounts_file("", "anthropic")))
        service = await stack.enter_async_context(
            Service.create(cluster, data_dir, providers_file, egress_allow="127.0.0.1/32")
        )
        attacker = await tenant_of(service, "acme", service.acme, api)
        victim = await tenant_of(service, "globex", service.globex, api)
        yield Estate(service, attacker, victim)


async def tenant_of(service: Service, name: str, owner: ApiClient, api: str = "") -> Tenant:
    """The clients of a tenant that the service made, a member for each role, and its API."""
    clients = {}
    for role in ("admin", "analyst", "viewer"):
        body = {"external_id": f"{name}-{role}", "role": role}
        member = made(await owner.post("/v1/members", body))
        key = made(await owner.post("/v1/keys", {"name": role, "member_id": member["id"]}))
        clients[role] = service.client(key["api_key"])
    key = made(await owner.post("/v1/keys", {"name": "revoked"}))
    assert (await owner.delete(f"/v1/keys/{key['id']}")).status == 204
    tenant_id = UUID(service.tenants[name]["tenant"]["id"])
    revoked = service.client(key["api_key"])
    return Tenant(name, tenant_id, owner, clients["admin"], clients["analyst"],
                  clients["viewer"], revoked, service.operator, f"{api}/{name}only",
                  service.platform)  # fmt: skip


def random_like(ids: Mapping[str, str]) -> dict[str, str]:
    """Ids of the same shape that name nothing, for anybody."""
    return {name: _random_like(value) for name, value in ids.items()}


def _random_like(value: str) -> str:
    try:
        known = UUID(value)
    except ValueError:
        return value if value == "items" else f"nothing-{secrets.token_hex(len(value) // 2)}"
    # The same version and age as a real one: nothing but its existence differs.
    return str(UUID(int=known.int ^ secrets.randbits(60)))
