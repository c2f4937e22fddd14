"""Tools of MCP servers: what is shown, what is called, what is refused before it leaves."""

from typing import Any

import pytest

from tenantry.connectors.base import QueryLimits
from tenantry.core.errors import EgressRefused, InvalidRequest, QueryFailed, QueryRefused
from tests.integration.connectors.mcp.conftest import Desk
from tests.sources.rogue_mcp import SEARCH, RogueMcp

LIMITS = QueryLimits(max_bytes=40_000, timeout_s=8.0)
FIND: dict[str, Any] = {"operations": {"read": ["find_orders"]}}
BOTH: dict[str, Any] = {
    "operations": {"read": ["find_orders"], "write": ["create_order"]},
    "fixed": {"account_id": "a7"},
}
READ: dict[str, Any] = {"operations": {"read": ["search"]}}


@pytest.mark.req("CON-1")
async def test_a_tool_of_a_real_server_is_called_and_gives_its_answer(
    desk: Desk, orders: str
) -> None:
    source = await desk.source(url=orders, **FIND)
    await source.test()
    answer: Any = await source.call("find_orders", {"region": "north"}, LIMITS)
    assert answer["structured"] == {"region": "north", "totals": ["120.50", "30.00"]}
    assert answer["content"] == []  # the text said the same once more


@pytest.mark.req("CON-2", "SEC-3")
async def test_only_tools_named_are_offered_each_with_a_closed_schema(
    desk: Desk, orders: str
) -> None:
    (operation,) = await (await desk.source(url=orders, **FIND)).operations()
    assert (operation.name, operation.effect, operation.suspended) == (
        "find_orders", "read", False,
    )  # fmt: skip
    assert operation.parameters["additionalProperties"] is False
    assert operation.parameters["required"] == ["region"]


@pytest.mark.req("SEC-3")
async def test_an_argument_that_names_an_account_is_filled_by_the_configuration(
    desk: Desk, orders: str
) -> None:
    with pytest.raises(InvalidRequest, match="account_id names somebody"):
        await desk.source(url=orders, operations={"write": ["create_order"]})
    source = await desk.source(url=orders, writes="allowed", **BOTH)
    _, writing = await source.operations()
    assert (writing.effect, list(writing.parameters["properties"])) == ("write", ["sku"])  # type: ignore[arg-type]
    answer: Any = await source.call("create_order", {"sku": "s1"}, LIMITS)
    assert answer["structured"] == {"result": "ordered s1 for a7"}
    with pytest.raises(QueryRefused, match="There is no argument account_id"):
        await source.call("create_order", {"sku": "s1", "account_id": "b8"}, LIMITS)
    (event,) = await desk.refusals(desk.world.acme)
    assert event["detail"] == {
        "connector": "desk", "operation": "create_order", "reason": "argument",
        "arguments": ["account_id"],
    }  # fmt: skip


@pytest.mark.req("SEC-3", "SEC-4")
async def test_what_writes_or_is_not_named_is_refused_and_recorded(
    desk: Desk, rogue: RogueMcp
) -> None:
    rogue.tools = [SEARCH, {**SEARCH, "name": "erase", "annotations": {"readOnlyHint": True}}]
    source = await desk.source(url=rogue.url, operations={"read": ["search"], "write": ["erase"]})
    for tool in ("erase", "SEARCH", "other", "x" * 5_000):
        with pytest.raises(QueryRefused):
            await source.call(tool, {"text": "a"}, LIMITS)
    assert rogue.calls == []
    reasons = [event["detail"]["reason"] for event in await desk.refusals(desk.world.acme)]
    assert sorted(reasons) == ["operation", "operation", "operation", "write"]
    assert await desk.refusals(desk.world.globex) == []


@pytest.mark.req("CON-2")
async def test_a_configuration_that_names_no_tool_or_a_wrong_one_is_told_what_there_is(
    desk: Desk, rogue: RogueMcp
) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "The server offers: search"),
        ({"operations": {"read": ["serch"]}}, "no tool 'serch'. It has: search"),
        ({"operations": {"read": ["search"], "write": ["search"]}}, "each once"),
        ({"operations": {"allow": ["search"]}}, "read: .names"),
        ({**READ, "fixed": {"nothing": 1}}, "No operation offered has the fixed argument"),
        ({**READ, "fixed": {"limit": 99}}, "does not fit search"),
        ({**READ, "speed": 1}, "no option speed"),
        ({**READ, "command": "x"}, "either the url"),
        ({**READ, "writes": "maybe"}, "writes is"),
        ({**READ, "protocol": 7}, "protocol is"),
        ({**READ, "acceptance": "x"}, "acceptance is"),
        ({**READ, "tools": {"search": {"schema": {}, "sha256": "x"}}}, "no tool that was"),
        ({**READ, "tools": {"other": {}}}, "not named in operations"),
    ]
    for options, says in cases:
        with pytest.raises(InvalidRequest, match=says):
            await desk.add(desk.world.acme, url=rogue.url, **options)


@pytest.mark.req("CON-2")
async def test_what_is_stored_can_be_given_again_and_means_the_same(
    desk: Desk, orders: str
) -> None:
    added = await desk.add(desk.world.acme, url=orders, **BOTH)
    again = await desk.catalog.change(desk.world.acme, added.config.connector, added.config.options)
    assert again.config.options == added.config.options
    assert [w for w in again.warnings if "not encrypted" in w]


@pytest.mark.req("POOL-4", "CON-4")
async def test_the_secret_goes_to_the_server_alone_and_is_hidden_when_it_comes_back(
    desk: Desk, rogue: RogueMcp
) -> None:
    token = "tok-3f9a-acme"
    rogue.result = {"content": [{"type": "text", "text": f"you are {token}"}]}
    source = await desk.source({"token": token}, url=rogue.url, auth={"kind": "bearer"}, **READ)
    answer = await source.call("search", {"text": "a"}, LIMITS)
    assert answer == {"content": ["you are [removed]"]}
    assert {h.get("Authorization") for h in rogue.headers} == {f"Bearer {token}"}
    rogue.result = {"isError": True, "content": [{"type": "text", "text": f"bad {token}"}]}
    with pytest.raises(QueryFailed, match=r"The tool failed: bad \[removed\]"):
        await source.call("search", {"text": "a"}, LIMITS)


@pytest.mark.req("POOL-4")
async def test_another_address_needs_the_secret_anew_before_anything_is_sent_there(
    desk: Desk, rogue: RogueMcp
) -> None:
    bearer: dict[str, Any] = {"auth": {"kind": "bearer"}, **READ}
    added = await desk.add(desk.world.acme, {"token": "tok-3f9a"}, url=rogue.url, **bearer)
    seen = len(rogue.headers)
    elsewhere = {"url": rogue.url.replace("127.0.0.1", "localhost"), **bearer}
    with pytest.raises(InvalidRequest, match="secrets again"):
        await desk.catalog.change(desk.world.acme, added.config.connector, elsewhere)
    assert len(rogue.headers) == seen


@pytest.mark.req("CON-4")
async def test_a_forbidden_address_is_refused_once_and_recorded_once(desk: Desk) -> None:
    with pytest.raises(EgressRefused):
        await desk.add(desk.world.acme, url="http://169.254.169.254/mcp", **READ)
    (event,) = await desk.refusals(desk.world.acme)
    assert (event["action"], event["detail"]["entry"]) == ("egress.refused", "mcp")


@pytest.mark.req("CON-1")
async def test_a_tool_that_went_wrong_says_why(desk: Desk, orders: str) -> None:
    source = await desk.source(url=orders, operations={"read": ["break_down"]})
    with pytest.raises(QueryFailed, match="The tool failed: Error executing tool break_down"):
        await source.call("break_down", {}, LIMITS)
