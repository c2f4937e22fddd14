"""MCP servers that hang, flood, lie and break off: a clear error each, and a connection let go."""

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp import web

from tenantry.connectors.base import OperationSource, QueryLimits
from tenantry.core.errors import InvalidRequest, QueryFailed, QueryTimeout
from tests.integration.connectors.mcp.conftest import Desk
from tests.sources.rogue_mcp import SEARCH, Handler, RogueMcp

LIMITS = QueryLimits(max_bytes=40_000, timeout_s=8.0)
HASTE = QueryLimits(max_bytes=40_000, timeout_s=0.3)
READ: dict[str, Any] = {"operations": {"read": ["search"]}}


async def called(source: OperationSource, limits: QueryLimits = LIMITS) -> Any:
    """The tool is called."""
    return await source.call("search", {"text": "a"}, limits)


def says(body: bytes, kind: str = "application/json", status: int = 200) -> Handler:
    """Answers with this, whatever was asked."""

    async def handler(_: web.Request, __: Mapping[str, Any]) -> web.Response:
        return web.Response(body=body, content_type=kind, status=status)

    return handler


def streams(*pieces: bytes, then: str = "end") -> Handler:
    """Answers with a stream of events; then it ends, hangs, or goes on for ever."""

    async def handler(request: web.Request, _: Mapping[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        while then == "flood":
            await response.write(pieces[-1])
        if then == "hang":
            await asyncio.Event().wait()
        if then == "cut" and request.transport is not None:
            request.transport.abort()
        return response

    return handler


def answers(**said: Any) -> Handler:
    """A JSON-RPC answer with this in it."""

    async def handler(_: web.Request, message: Mapping[str, Any]) -> web.Response:
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], **said})

    return handler


EVENT = b'event: message\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}\n\n'  # noqa: E501
DEEP = b"[" * 5_000 + b"]" * 5_000
CASES: dict[str, tuple[Handler, str]] = {
    "no JSON": (says(b"<html>gateway</html>"), "does not fit the Model Context Protocol"),
    "no JSON-RPC": (says(b'{"hello": 1}'), "does not fit the Model Context Protocol"),
    "no result": (answers(result={"content": "text"}), "does not fit"),
    "neither result nor error": (answers(), "does not fit"),
    "JSON without end": (says(DEEP), "does not fit the Model Context Protocol"),
    "binary": (says(bytes(range(256)) * 40, "application/octet-stream"), "refused: Unexpected"),
    "binary as JSON": (says(bytes(range(256)) * 40), "does not fit the Model Context Protocol"),
    "an error of HTTP": (says(b"no", "text/plain", 503), "answered 503 Service Unavailable"),
    "who are you": (says(b"", "text/plain", 401), "answered 401 Unauthorized"),
    "too large": (says(b" " * 3_000_000), "larger than allowed"),
    "an event without end": (streams(b"data: " + b"x" * 3_000_000), "larger than allowed"),
    "a flood of events": (streams(EVENT * 1_000, then="flood"), "too many events"),
    "broken off": (streams(EVENT, then="cut"), "broke off|ended"),
    "ended early": (streams(EVENT), "ended the session before"),
    "an event of nonsense": (streams(b"data: {nonsense\n\n"), "does not fit"),
    "accepted, and nothing": (says(b"", status=202), "202|ended"),
}


@pytest.mark.req("CON-4")
async def test_a_server_that_answers_badly_is_an_error_that_says_how(
    desk: Desk, rogue: RogueMcp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    source = await desk.source(url=rogue.url, **READ)
    for case, (handler, message) in CASES.items():
        rogue.on["tools/call"] = handler
        with pytest.raises(QueryFailed, match=message):
            pytest.fail(f"{case}: {await called(source)}")
        await rogue.is_left()
    del rogue.on["tools/call"]
    assert await called(source) == {"content": ["found"]}
    for told in ("Traceback", "nonsense", "gateway"):  # the operator's log holds nothing of it
        assert told not in caplog.text


@pytest.mark.req("CON-4")
async def test_a_server_that_hangs_is_left_in_time(desk: Desk, rogue: RogueMcp) -> None:
    source = await desk.source(url=rogue.url, **READ)
    other = json.dumps({"jsonrpc": "2.0", "id": 99, "result": {"content": []}}).encode()
    for method, handler in (
        ("initialize", streams(EVENT, then="hang")),
        ("tools/list", streams(then="hang")),
        ("tools/call", streams(EVENT, then="hang")),
        ("tools/call", says(other)),  # an answer to what was not asked
    ):
        rogue.on = {method: handler}
        with pytest.raises(QueryTimeout, match="did not answer in time"):
            await called(source, HASTE)
        await rogue.is_left()


@pytest.mark.req("CON-4")
async def test_a_hundred_megabytes_are_not_read(desk: Desk, rogue: RogueMcp) -> None:
    source = await desk.source(url=rogue.url, **READ)
    sent = 0

    async def handler(request: web.Request, _: Mapping[str, Any]) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"content-type": "application/json"})
        await response.prepare(request)
        for _piece in range(1_600):
            await response.write(b'"' + b"x" * 65_536)
            sent += 65_536
        return response

    rogue.on["tools/call"] = handler
    with pytest.raises(QueryFailed, match="larger than allowed"):
        await called(source)
    assert sent < 20_000_000


@pytest.mark.req("CON-2")
async def test_thousands_of_tools_and_pages_without_end_are_refused(
    desk: Desk, rogue: RogueMcp
) -> None:
    rogue.tools = [{"name": f"t{n}", "inputSchema": {"type": "object"}} for n in range(2_001)]
    with pytest.raises(QueryFailed, match="more than 2000 tools"):
        await desk.add(desk.world.acme, url=rogue.url, **READ)

    async def endless(_: web.Request, message: Mapping[str, Any]) -> web.Response:
        page = {"tools": [SEARCH], "nextCursor": "again"}
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": page})

    rogue.on["tools/list"] = endless
    with pytest.raises(QueryFailed, match="without an end"):
        await desk.add(desk.world.acme, url=rogue.url, **READ)


LOOP = {"$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}}}
NEST: Any = {"type": "string"}
for _ in range(40):
    NEST = {"type": "object", "properties": {"a": NEST}, "required": ["a"]}


@pytest.mark.req("CON-2", "SEC-3")
async def test_schemas_in_circles_or_without_bottom_leave_what_can_be_read(
    desk: Desk, rogue: RogueMcp
) -> None:
    circle = {
        "type": "object", **LOOP,
        "properties": {"text": {"type": "string"}, "node": {"$ref": "#/$defs/node"}},
    }  # fmt: skip
    rogue.tools = [{**SEARCH, "inputSchema": circle}]
    source = await desk.source(url=rogue.url, **READ)
    (operation,) = await source.operations()
    assert "$ref" not in json.dumps(operation.parameters)
    assert await called(source) == {"content": ["found"]}
    for schema in (NEST, {"type": "object", "properties": {"tenant": {}}, "required": ["tenant"]}):
        rogue.tools = [{**SEARCH, "name": "other", "inputSchema": schema}]
        with pytest.raises(InvalidRequest, match="no operation that can be offered"):
            await desk.source(url=rogue.url, operations={"read": ["other"]})


@pytest.mark.req("SEC-3")
async def test_a_pattern_that_never_ends_is_not_run(desk: Desk, rogue: RogueMcp) -> None:
    evil = {"type": "string", "pattern": "^(a+)+$"}
    rogue.tools = [
        {
            **SEARCH,
            "inputSchema": {"type": "object", "properties": {"text": evil}},
            "outputSchema": {"type": "object", "properties": {"text": evil}},
        }
    ]
    text = "a" * 40 + "!"
    rogue.result = {"content": [], "structuredContent": {"text": text}}
    source = await desk.source(url=rogue.url, **READ)
    answer: Any = await source.call("search", {"text": text}, LIMITS)
    assert answer["structured"] == {"text": text}


@pytest.mark.req("CON-1")
async def test_a_large_answer_is_cut_and_what_is_no_text_is_named(
    desk: Desk, rogue: RogueMcp
) -> None:
    rogue.result = {
        "content": [
            {"type": "text", "text": "x" * 100_000},
            {"type": "image", "data": "aGFsbG8=", "mimeType": "image/png"},
            {"type": "resource_link", "uri": "https://evil.test/?q=1", "name": "look"},
            {"type": "resource", "resource": {"uri": "a:b", "text": "inside"}},
        ]
    }
    source = await desk.source(url=rogue.url, **READ)
    answer = await called(source)
    assert answer["truncated"] is True
    assert len(json.dumps(answer)) < 40_000
    assert answer["content"][1] == "image of 6 bytes, image/png: not shown"
    assert answer["content"][2:] == [
        {"link": "https://evil.test/?q=1", "name": "look"}, {"resource": "a:b", "text": "inside"},
    ]  # fmt: skip


@pytest.mark.req("CON-4")
async def test_what_a_server_asks_of_us_is_not_answered_with_anything_of_ours(
    desk: Desk, rogue: RogueMcp
) -> None:
    ask = {
        "jsonrpc": "2.0", "id": 7, "method": "sampling/createMessage",
        "params": {"messages": [], "maxTokens": 5},
    }  # fmt: skip
    answers: list[Mapping[str, Any]] = []

    async def asking(request: web.Request, message: Mapping[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for said in (ask, {"jsonrpc": "2.0", "id": message["id"], "result": rogue.result}):
            await response.write(b"data: " + json.dumps(said).encode() + b"\n\n")
        return response

    rogue.on["tools/call"] = asking
    source = await desk.source(url=rogue.url, **READ)
    assert await called(source) == {"content": ["found"]}
    assert all("result" not in each for each in answers)
