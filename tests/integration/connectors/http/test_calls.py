"""Calls of a real HTTP API: what is sent, what comes back, what is refused before it leaves."""

import asyncio
import base64
from typing import Any

import pytest
from aiohttp import web

from tenantry.connectors.base import QueryLimits
from tenantry.core.errors import QueryFailed, QueryRefused, QueryTimeout
from tests.integration.connectors.http.conftest import TOKEN, Desk, text
from tests.unit.connectors.openapi import document, query

LIMITS = QueryLimits(max_bytes=40_000, timeout_s=5.0)
WRITES: dict[str, Any] = {"operations": {"allow": ["createOrder", "listOrders"]}}


@pytest.mark.req("CON-1")
async def test_a_call_sends_what_the_document_says_and_gives_the_answer(desk: Desk) -> None:
    source = await desk.source()
    answer: Any = await source.call("listOrders", {"status": "a b&c", "limit": 5}, LIMITS)
    assert answer["status"] == 200
    assert answer["body"]["orders"] == [{"id": 1, "total": "9.50"}]
    (request,) = desk.api.calls
    assert request.raw_path == "/v1/orders?status=a%20b%26c&limit=5"
    assert request.method == "GET"
    answer = await source.call("getOrder", {"id": 7}, LIMITS)
    assert answer["body"]["path"] == "/v1/orders/7"


@pytest.mark.req("CON-2")
async def test_operations_are_shown_with_closed_schemas(desk: Desk) -> None:
    first, second = await (await desk.source()).operations()
    assert (first.name, first.effect, first.description) == (
        "listOrders", "read", "Orders, newest first.",
    )  # fmt: skip
    assert first.parameters["additionalProperties"] is False
    assert second.parameters["required"] == ["id"]


# --- arguments --------------------------------------------------------------------------------


@pytest.mark.req("SEC-3", "SEC-4")
@pytest.mark.parametrize(
    ("operation", "arguments", "named"),
    [
        ("listOrders", {"tenant_id": "x"}, ["tenant_id"]),
        ("listOrders", {"status": "open", "as_user": "x", "host": "y"}, ["as_user", "host"]),
        ("createOrder", {"body": {"sku": "a", "tenant_id": "globex"}}, ["body.tenant_id"]),
        ("createOrder", {"body": {"sku": "a", "created": "now"}}, ["body.created"]),
    ],
)
async def test_an_argument_that_is_not_shown_is_refused_and_audited_once(
    desk: Desk, operation: str, arguments: Any, named: list[str]
) -> None:
    source = await desk.source(**WRITES, writes="allowed")
    with pytest.raises(QueryRefused, match="There is no argument"):
        await source.call(operation, arguments, LIMITS)
    assert desk.api.calls == []
    (event,) = await desk.refusals(desk.world.acme)
    assert (event["action"], event["layer"]) == ("call.refused", "connector")
    assert event["detail"] == {
        "connector": "shop", "operation": operation, "reason": "argument", "arguments": named,
    }  # fmt: skip
    assert await desk.world.audit_events(desk.world.globex) == []


@pytest.mark.req("SEC-3")
async def test_a_mistake_in_a_value_is_answered_so_that_it_can_be_mended(desk: Desk) -> None:
    source = await desk.source()
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("listOrders", {"limit": "many"}, "limit: type is integer"),
        ("listOrders", {"limit": 1_000}, "limit: maximum is 100"),
        ("getOrder", {}, "required is id"),
        ("getOrder", {"id": {"$ne": 1}}, "id: type is integer"),
        ("getOrder", {"id": None}, "id: type is integer"),
    ]
    for operation, arguments, says in cases:
        with pytest.raises(QueryRefused, match=says):
            await source.call(operation, arguments, LIMITS)
    assert desk.api.calls == []
    assert await desk.refusals(desk.world.acme) == []


@pytest.mark.req("SEC-3", "SEC-4")
async def test_an_operation_that_is_not_offered_is_refused_and_audited(desk: Desk) -> None:
    source = await desk.source()
    names = ["deleteOrder", "LISTORDERS", "listOrders ", "", "x" * 5_000]
    for name in names:
        with pytest.raises(QueryRefused, match="Known: listOrders, getOrder"):
            await source.call(name, {}, LIMITS)
    events = await desk.refusals(desk.world.acme)
    assert [event["detail"]["reason"] for event in events] == ["operation"] * len(names)
    assert all(len(event["detail"]["operation"]) <= 60 for event in events)


FILES = {
    "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]
}


@pytest.mark.req("CON-4")
async def test_an_argument_does_not_climb_the_path(desk: Desk) -> None:
    source = await desk.source(document=document(FILES, "/files/{id}"))
    for value in ("..", ".", "../../admin", "a/../b", "..\\..", ""):
        with pytest.raises(QueryRefused, match="no part of a path"):
            await source.call("x", {"id": value}, LIMITS)
    assert desk.api.calls == []


@pytest.mark.req("CON-4")
async def test_an_argument_stays_in_its_place(desk: Desk) -> None:
    source = await desk.source(document=document(FILES, "/files/{id}/text"))
    values = ["@evil.test", "//evil.test", "a?b=c#d", "%2e%2e", "%2F..%2F", "x\tHost: evil", "ü"]
    for value in values:
        await source.call("x", {"id": value}, LIMITS)
    assert len(desk.api.calls) == len(values)
    for request in desk.api.calls:
        assert request.raw_path.startswith("/v1/files/")
        assert request.raw_path.endswith("/text")
        assert request.raw_path.count("/") == 4
        assert request.headers["Host"] in desk.api.url


@pytest.mark.req("SEC-3")
async def test_where_names_are_open_reserved_ones_are_refused_all_the_same(desk: Desk) -> None:
    node = {"type": "object", "additionalProperties": {"type": "string"}}
    source = await desk.source(document=document(query(node, style="deepObject")))
    await source.call("x", {"q": {"colour": "red"}}, LIMITS)
    with pytest.raises(QueryRefused, match="no argument tenantId"):
        await source.call("x", {"q": {"colour": "red", "tenantId": "globex"}}, LIMITS)
    assert len(desk.api.calls) == 1
    assert [e["detail"]["arguments"] for e in await desk.refusals(desk.world.acme)] == [
        ["tenantId"]
    ]


# --- what the configuration fills -------------------------------------------------------------


@pytest.mark.req("SEC-3")
async def test_a_fixed_argument_is_sent_and_cannot_be_given(desk: Desk) -> None:
    listed = [
        {"name": "account_id", "in": "query", "required": True, "schema": {"type": "string"}},
        {"name": "q", "in": "query", "schema": {"type": "string"}},
    ]
    source = await desk.source(
        document=document({"parameters": listed}), fixed={"account_id": "acme-7"}
    )
    (operation,) = await source.operations()
    assert "account_id" not in text(operation.parameters)
    await source.call("x", {"q": "a"}, LIMITS)
    assert desk.api.calls[0].query == {"account_id": "acme-7", "q": "a"}
    with pytest.raises(QueryRefused, match="no argument account_id"):
        await source.call("x", {"account_id": "globex-8"}, LIMITS)
    assert len(desk.api.calls) == 1


@pytest.mark.req("SEC-3")
async def test_a_fixed_value_within_a_body_is_sent_whatever_the_model_says(desk: Desk) -> None:
    source = await desk.source(**WRITES, writes="allowed", fixed={"body.tenant_id": "acme"})
    await source.call("createOrder", {"body": {"sku": "a1", "count": 2}}, LIMITS)
    assert await desk.api.calls[0].read() == b'{"sku":"a1","count":2,"tenant_id":"acme"}'
    with pytest.raises(QueryRefused, match=r"no argument body\.tenant_id"):
        await source.call("createOrder", {"body": {"sku": "a", "tenant_id": "globex"}}, LIMITS)


# --- writing ----------------------------------------------------------------------------------


@pytest.mark.req("CON-2", "SEC-4")
async def test_a_call_that_changes_something_is_refused_unless_the_connector_allows_it(
    desk: Desk,
) -> None:
    source = await desk.source(**WRITES)
    assert {o.name: o.effect for o in await source.operations()}["createOrder"] == "write"
    with pytest.raises(QueryRefused, match="only reads"):
        await source.call("createOrder", {"body": {"sku": "a"}}, LIMITS)
    assert desk.api.calls == []
    (event,) = await desk.refusals(desk.world.acme)
    assert event["detail"]["reason"] == "write"


@pytest.mark.req("SEC-4")
async def test_a_call_that_changes_something_is_on_record_before_it_leaves(desk: Desk) -> None:
    source = await desk.source(**WRITES, writes="allowed")
    await source.call("createOrder", {"body": {"sku": "a"}}, LIMITS)
    assert desk.api.calls[0].method == "POST"
    assert desk.api.calls[0].headers["Content-Type"] == "application/json"
    events = await desk.world.audit_events(desk.world.acme)
    (event,) = [e for e in events if e["action"] == "call.sent"]
    assert event["detail"] == {"connector": "shop", "operation": "createOrder"}


# --- credentials ------------------------------------------------------------------------------


@pytest.mark.req("POOL-4", "CON-4")
@pytest.mark.parametrize(
    ("auth", "secrets", "header", "value"),
    [
        ({"kind": "bearer"}, {"token": TOKEN}, "Authorization", f"Bearer {TOKEN}"),
        (
            {"kind": "basic", "user": "reader"},
            {"password": TOKEN},
            "Authorization",
            "Basic " + base64.b64encode(f"reader:{TOKEN}".encode()).decode(),
        ),
        ({"kind": "api_key", "in": "header", "name": "X-Key"}, {"api_key": TOKEN}, "X-Key", TOKEN),
    ],
)
async def test_the_credential_goes_where_the_configuration_says(
    desk: Desk, auth: Any, secrets: dict[str, str], header: str, value: str
) -> None:
    source = await desk.source(secrets, auth=auth)
    assert all(header not in request.headers for request in desk.api.seen), "the probe needs none"
    await source.call("listOrders", {}, LIMITS)
    assert desk.api.calls[0].headers[header] == value


@pytest.mark.req("POOL-4", "SEC-3")
async def test_a_key_in_the_query_is_added_by_us_and_is_no_argument(desk: Desk) -> None:
    listed = [
        {"name": "k", "in": "query", "required": True, "schema": {"type": "string"}},
        {"name": "q", "in": "query", "schema": {"type": "string"}},
    ]
    source = await desk.source(
        {"api_key": TOKEN},
        document=document({"parameters": listed}),
        auth={"kind": "api_key", "in": "query", "name": "k"},
    )
    with pytest.raises(QueryRefused, match="no argument k"):
        await source.call("x", {"k": "mine"}, LIMITS)
    await source.call("x", {"q": "a"}, LIMITS)
    assert dict(desk.api.calls[0].query) == {"q": "a", "k": TOKEN}


# --- answers ----------------------------------------------------------------------------------


@pytest.mark.req("CON-4", "POOL-4")
async def test_an_error_of_the_api_says_what_it_said_without_the_credential(desk: Desk) -> None:
    source = await desk.source({"token": TOKEN}, auth={"kind": "bearer"})
    desk.api.answers(status=403, text=f"{TOKEN} may not do that")
    with pytest.raises(QueryFailed, match=r"403 Forbidden: \[removed\] may not do that"):
        await source.call("listOrders", {}, LIMITS)


@pytest.mark.req("CON-4")
async def test_an_answer_beyond_all_bounds_is_refused(desk: Desk) -> None:
    source = await desk.source()
    desk.api.answers(body=b" " * (3 * 1024 * 1024), content_type="application/json")
    with pytest.raises(QueryFailed, match="larger than allowed"):
        await source.call("listOrders", {}, LIMITS)


@pytest.mark.req("CON-4")
async def test_a_server_that_hangs_is_left_in_time(desk: Desk) -> None:
    async def hang(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    source = await desk.source()
    desk.api.handler = hang
    with pytest.raises(QueryTimeout):
        await source.call("listOrders", {}, QueryLimits(timeout_s=0.2))
    desk.api.handler = None
    await source.call("listOrders", {}, LIMITS)
