"""How each operation is called so that it does its work, by the differ and by the matrix.

An operation that needs a body stands in `BODIES`; one that takes an id elsewhere than in its path
stands in `NAMED_IN_BODIES` too, because such ids cross boundaries just as well.
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

from tests.isolation.served import CSV, Operation, Target, Tenant

Ids = Mapping[str, str]


def _form(fields: Mapping[str, str], name: str, content: bytes) -> aiohttp.FormData:
    form = aiohttp.FormData(fields)
    form.add_field("file", content, filename=name)
    return form


def _name(prefix: str) -> str:
    return f"{prefix}-{secrets.token_hex(6)}"


def _table(_ids: Ids) -> Mapping[str, Any]:
    return {"data": _form({"table": _name("t").replace("-", "_")}, "t.csv", CSV)}


def _document(_ids: Ids) -> Mapping[str, Any]:
    return {"data": _form({}, f"{_name('d')}.md", f"# {_name('Heading')}\n\nText.".encode())}


def _json(make: Callable[[Ids], Mapping[str, Any]]) -> Callable[[Ids], Mapping[str, Any]]:
    return lambda ids: {"json": make(ids)}


_BUDGET = {"unit": "requests", "period": "month", "hard_limit": 10**9}
_CHAT = [{"role": "user", "content": "What do you know?"}]
BODIES: Mapping[tuple[str, str], Callable[[Ids], Mapping[str, Any]]] = {
    ("POST", "/v1/tenants"): _json(
        lambda _: {"name": _name("tenant"), "owner": {"external_id": "first"}}
    ),
    ("POST", "/v1/tenants/{tenant_id}/break-glass"): _json(
        lambda _: {"reason": "To see who may open a tenant"}
    ),
    ("POST", "/v1/operator/break-glass/rows"): _json(lambda ids: {"table": "messages", **ids}),
    ("PATCH", "/v1/tenants/{tenant_id}"): _json(lambda _: {"status": "active"}),
    ("POST", "/v1/tokens"): _json(
        lambda _: {"tenant": "globex", "external_id": _name("m"), "role": "viewer"}
    ),
    ("POST", "/v1/operator/usage/reconcile"): lambda _: {
        "data": "upstream_id,input_tokens,output_tokens\nnone-such,1,1\n",
        "headers": {"content-type": "text/csv"},
    },
    ("PUT", "/v1/budgets"): _json(lambda _: _BUDGET),
    ("PUT", "/v1/tenants/{tenant_id}/budgets"): _json(lambda _: _BUDGET),
    ("PUT", "/v1/tenants/{tenant_id}/time-zone"): _json(lambda _: {"time_zone": "UTC"}),
    ("PUT", "/v1/operator/weights"): _json(lambda _: {"provider": "none-such"}),
    ("POST", "/v1/members"): _json(lambda _: {"external_id": _name("m"), "role": "viewer"}),
    ("PATCH", "/v1/members/{member_id}"): _json(lambda _: {"display_name": _name("n")}),
    ("POST", "/v1/groups"): _json(lambda _: {"name": _name("g")}),
    ("PUT", "/v1/documents/{document_id}/access"): _json(lambda _: {"groups": []}),
    ("POST", "/v1/keys"): _json(lambda ids: {"name": _name("k"), **ids}),
    ("POST", "/v1/keys/{key_id}/rotate"): _json(lambda _: {"overlap_s": 60}),
    ("POST", "/v1/assistants"): _json(lambda _: {"name": _name("a"), "instructions": "Brief."}),
    ("POST", "/v1/assistants/{assistant_id}/versions"): _json(lambda _: {"instructions": "Long."}),
    ("POST", "/v1/assistants/{assistant_id}/rollback"): _json(lambda _: {"version": 1}),
    ("POST", "/v1/documents"): _document,
    ("POST", "/v1/documents/search"): _json(lambda _: {"query": "What is there?"}),
    ("PATCH", "/v1/jobs/{job_id}"): _json(lambda _: {"state": "cancelled"}),
    ("PUT", "/v1/model-policy"): _json(lambda _: {}),
    ("PUT", "/v1/embedder"): _json(lambda _: {"model": "embedded"}),
    ("PUT", "/v1/tenants/{tenant_id}/embedder"): _json(lambda _: {"model": "embedded"}),
    ("POST", "/v1/provider-accounts"): _json(
        lambda ids: {
            "name": _name("a"),
            "kind": "openai_compatible",
            "key": "sk-of-nobody",
            "models": [{"name": "m"}],
            **ids,
        }
    ),
    ("PATCH", "/v1/provider-accounts/{provider_account_id}"): _json(
        lambda _: {"models": [{"name": _name("m")}]}
    ),
    ("POST", "/v1/connectors"): _json(lambda _: {"name": _name("c"), "kind": "files"}),
    ("PATCH", "/v1/connectors/{connector_id}"): _json(lambda _: {"options": {}}),
    ("POST", "/v1/connectors/{connector_id}/query"): _json(
        lambda _: {"sql": "SELECT count(*) FROM items"}
    ),
    ("POST", "/v1/connectors/{connector_id}/call"): _json(lambda _: {"operation": "listOrders"}),
    ("POST", "/v1/connectors/{connector_id}/tables"): _table,
    ("POST", "/v1/patterns"): _json(
        lambda ids: {"question": _name("What of"), "sql": "SELECT count(*) FROM items", **ids}
    ),
    ("POST", "/v1/chat/completions"): _json(
        lambda ids: {"model": "analyst", "messages": _CHAT, **ids}
    ),
    ("POST", "/v1/responses"): _json(
        lambda ids: {"model": "analyst", "input": "What do you know?", **ids}
    ),
    ("POST", "/v1/messages"): _json(lambda _: {"model": "scripted/scripted-1", "messages": _CHAT}),
    ("POST", "/v1/embeddings"): _json(lambda _: {"model": "embedded", "input": "one"}),
}


def request_for(operation: Operation, ids: Ids) -> Target:
    """Where and what to send so that the operation acts on what `ids` name."""
    path = operation.path
    in_path = {name: ids[name] for name in operation.ids}
    for name, value in in_path.items():
        path = path.replace(f"{{{name}}}", value)
    elsewhere = {name: value for name, value in ids.items() if name not in in_path}
    make = BODIES.get((operation.method, operation.path))
    return Target(path, {} if make is None else make(elsewhere))


async def _member(tenant: Tenant) -> Ids:
    return {"member_id": await tenant.member()}


async def _connector(tenant: Tenant) -> Ids:
    return {"connector": (await tenant.connector())["name"]}


async def _conversation(tenant: Tenant) -> Ids:
    return {"conversation_id": await tenant.conversation()}


async def _assistant(tenant: Tenant) -> Ids:
    return {"model": (await tenant.assistant())["name"]}


NAMED_IN_BODIES: Mapping[Operation, tuple[Callable[[Tenant], Any], ...]] = {
    Operation("/v1/keys", "POST"): (_member,),
    Operation("/v1/patterns", "POST"): (_connector,),
    Operation("/v1/chat/completions", "POST"): (_conversation, _assistant),
    Operation("/v1/responses", "POST"): (_conversation, _assistant),
}
"""Operations whose bodies name a resource, and how to make one."""
