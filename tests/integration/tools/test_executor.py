"""Whatever a model asks for ends in a result, within its ceilings; attacks are on record."""

import asyncio
import json
import random
from typing import Any

import pytest

from tenantry.core.errors import StoreUnavailable
from tenantry.isolation.context import TenantContext
from tenantry.tools.base import ToolResult
from tenantry.tools.binding import Bound
from tenantry.tools.executor import Ceilings, Executed, ToolExecutor
from tests.integration.tools.conftest import Workshop
from tests.worlds import World


class Probe:
    """A tool that does what a test wants."""

    name = "probe"

    def __init__(self) -> None:
        self.ran: list[str] = []

    async def run(self, act: str = "", seconds: float = 0.0) -> ToolResult:
        """Do something."""
        self.ran.append(act)
        await asyncio.sleep(seconds)
        return ToolResult("x" * int(act) if act.isdecimal() else act, "test", rows=3)


def executor(
    world: World,
    probe: Probe,
    ceilings: Ceilings | None = None,
    ctx: TenantContext | None = None,
) -> ToolExecutor:
    """A session of acme's with the probe only."""
    return ToolExecutor(ctx or world.acme, [Bound(probe)], world.audit, world.clock, ceilings)


def error(executed: Executed) -> dict[str, str]:
    """What a call that did not go well says."""
    assert executed.result.is_error
    content: Any = executed.result.content
    assert set(content) == {"error"}
    assert set(content["error"]) == {"code", "message"}
    return dict(content["error"])


@pytest.mark.req("SEC-3", "SEC-4")
@pytest.mark.parametrize("name", ["tenant_id", "as_user", "org", "schema", "dsn", "TENANT_ID"])
async def test_an_invented_argument_is_refused_and_audited_before_anything_runs(
    world: World, name: str
) -> None:
    probe = Probe()
    tools = executor(world, probe)
    executed = await tools.run("probe", json.dumps({"act": "x", name: str(world.globex.tenant)}))
    assert executed.outcome == "refused"
    assert error(executed)["code"] == "unknown_arguments"
    assert probe.ran == []
    (event,) = await world.audit_events(world.acme)
    assert (event["action"], event["outcome"], event["layer"]) == (
        "tool.argument_refused", "refused", "tool",
    )  # fmt: skip
    assert event["detail"] == {"tool": "probe", "arguments": [name]}
    assert str(world.globex.tenant) not in str(event)
    assert await world.audit_events(world.globex) == []


@pytest.mark.req("SEC-3", "SEC-4")
@pytest.mark.parametrize(
    "name",
    ["query_data", "Probe", "PROBE", "probe ", " probe", "\u0440robe", "probe\u200b", "ns.probe",
     "functions.probe", "", "probe\x00", "__init__", "x" * 10_000],
)  # fmt: skip
async def test_a_tool_that_is_not_bound_is_refused_and_audited(world: World, name: str) -> None:
    probe = Probe()
    executed = await executor(world, probe).run(name, "{}")
    assert executed.outcome == "refused"
    assert error(executed)["message"] == "There is no such tool. Known: probe."
    assert executed.usage.tool == "unknown"
    assert probe.ran == []
    (event,) = await world.audit_events(world.acme)
    assert (event["action"], event["layer"]) == ("tool.unknown", "tool")
    assert len(event["detail"]["tool"]) <= 61


@pytest.mark.req("SEC-3")
@pytest.mark.parametrize(
    "arguments",
    [
        "not json",
        "[]",
        '"text"',
        "null",
        "1",
        "{",
        '{"act": NaN}',
        '{"act": 1}',
        '{"act": null}',
        '{"act": {"$ne": 1}}',
        '{"act": "\\ud800"}',
        "\ud800",
        "[" * 30_000,
        json.dumps({"act": "x" * 40_000}),
    ],
)
async def test_arguments_that_do_not_fit_are_a_mistake_and_run_nothing(
    world: World, arguments: str
) -> None:
    probe = Probe()
    executed = await executor(world, probe).run("probe", arguments)
    assert executed.outcome == "error"
    assert error(executed)["code"] == "invalid_request"
    assert probe.ran == []
    assert await world.audit_events(world.acme) == []


@pytest.mark.req("SEC-3")
async def test_arguments_nested_too_deeply_are_not_even_compared_with_the_schema(
    world: World,
) -> None:
    tools = executor(world, Probe())
    bomb = '{"act": ' + "[" * 8 + "]" * 8 + "}"
    assert "nested" in error(await tools.run("probe", bomb))["message"]
    shallow = '{"act": ' + "[" * 7 + "]" * 7 + "}"
    assert "valid string" in error(await tools.run("probe", shallow))["message"]


@pytest.mark.req("SEC-3")
@pytest.mark.parametrize("arguments", ["", "{}", " { } "])
async def test_no_arguments_may_be_written_in_several_ways(world: World, arguments: str) -> None:
    probe = Probe()
    assert (await executor(world, probe).run("probe", arguments)).outcome == "ok"
    assert probe.ran == [""]


@pytest.mark.req("SEC-3", "COST-2")
async def test_a_call_is_measured(world: World) -> None:
    executed = await executor(world, Probe()).run("probe", '{"act": "100", "seconds": 0.05}')
    assert executed.usage.tool == "probe"
    assert executed.usage.rows == 3
    assert executed.usage.size_bytes == 102
    assert executed.usage.duration_ms >= 50


@pytest.mark.req("SEC-3")
async def test_a_result_larger_than_allowed_is_not_shown(world: World) -> None:
    tools = executor(world, Probe(), Ceilings(result_bytes=1_000))
    assert (await tools.run("probe", '{"act": "998"}')).outcome == "ok"
    executed = await tools.run("probe", '{"act": "999"}')
    assert executed.outcome == "error"
    assert "ask for less" in error(executed)["message"]
    assert executed.usage.size_bytes < 200


@pytest.mark.req("SEC-3")
async def test_a_tool_that_takes_too_long_is_stopped(world: World) -> None:
    tools = executor(world, Probe(), Ceilings(seconds=0.05))
    executed = await tools.run("probe", '{"seconds": 60.0}')
    assert (executed.outcome, error(executed)["code"]) == ("error", "query_timeout")


@pytest.mark.req("SEC-3")
async def test_a_tool_stops_at_the_deadline_of_the_request(world: World) -> None:
    ctx = world.mint.mint(
        world.acme.tenant,
        world.acme.actor,
        world.acme.scopes,
        "req-short",
        world.clock.monotonic() + 0.05,
    )
    executed = await executor(world, Probe(), ctx=ctx).run("probe", '{"seconds": 60.0}')
    assert error(executed)["code"] == "query_timeout"


@pytest.mark.req("SEC-3", "SEC-4")
async def test_calls_beyond_the_ceiling_are_refused_and_audited_once(world: World) -> None:
    probe = Probe()
    tools = executor(world, probe, Ceilings(calls=5))
    done = await asyncio.gather(*(tools.run("probe", "{}") for _ in range(1_000)))
    assert [executed.outcome for executed in done] == ["ok"] * 5 + ["refused"] * 995
    assert len(probe.ran) == 5
    (event,) = await world.audit_events(world.acme)
    assert (event["action"], event["detail"]) == ("tool.ceiling_reached", {"calls": 5})


@pytest.mark.req("SEC-3", "SEC-4")
async def test_a_flood_of_invented_tools_is_no_flood_of_events(world: World) -> None:
    tools = executor(world, Probe(), Ceilings(calls=5))
    for number in range(50):
        await tools.run(f"steal_{number}", "{}")
    actions = [event["action"] for event in await world.audit_events(world.acme)]
    assert actions == ["tool.unknown"] * 5 + ["tool.ceiling_reached"]


@pytest.mark.req("SEC-4")
async def test_a_refusal_that_cannot_be_recorded_ends_the_turn(world: World) -> None:
    tools = executor(world, Probe())
    await world.pools["audit"].close()
    with pytest.raises(StoreUnavailable):
        await tools.run("probe", '{"tenant_id": "x"}')
    with pytest.raises(StoreUnavailable):
        await tools.run("steal", "{}")


@pytest.mark.req("SEC-3", "SEC-4", "CON-3")
async def test_what_a_source_refuses_is_a_refusal_on_record(workshop: Workshop) -> None:
    acme = workshop.world.acme
    tools = workshop.tools(acme)
    sql = "SELECT * FROM globex_sales"
    executed = await workshop.call(tools, "query_data", connector="warehouse", sql=sql)
    assert executed.outcome == "refused"
    assert error(executed) == {
        "code": "query_refused",
        "message": "There is no table globex_sales here. Available tables: sales.",
    }
    (event,) = await workshop.refusals(acme)
    assert event["detail"]["relation"] == "globex_sales"


@pytest.mark.req("SEC-3", "SEC-4")
@pytest.mark.parametrize(
    ("tool", "named"),
    [
        ("query_data", {"connector": "vault", "sql": "SELECT 1"}),
        ("describe_data", {"connector": "vault", "table": "sales"}),
        ("describe_data", {"connector": "warehouse", "table": "globex_sales"}),
    ],
)
async def test_a_name_that_is_not_the_tenants_is_on_record_whoever_else_has_it(
    workshop: Workshop, tool: str, named: dict[str, str]
) -> None:
    acme = workshop.world.acme
    executed = await workshop.call(workshop.tools(acme), tool, **named)
    assert (executed.outcome, error(executed)["code"]) == ("error", "not_found")
    (event,) = await workshop.refusals(acme)
    assert (event["action"], event["layer"]) == ("id.unknown", "tool")
    assert event["detail"] == {"tool": tool}


@pytest.mark.req("SEC-3")
async def test_a_tool_that_the_assistant_was_not_given_is_unknown(workshop: Workshop) -> None:
    tools = workshop.tools(workshop.world.acme, ["list_data", "no_such_tool"])
    assert [spec.name for spec in tools.specs] == ["list_data"]
    executed = await workshop.call(tools, "query_data", connector="warehouse", sql="SELECT 1")
    assert executed.outcome == "refused"
    (event,) = await workshop.refusals(workshop.world.acme)
    assert event["action"] == "tool.unknown"


@pytest.mark.req("SEC-3", "SEC-4")
async def test_a_thousand_hostile_calls_give_a_result_each_and_nothing_of_the_neighbours(
    workshop: Workshop,
) -> None:
    world, chance = workshop.world, random.Random(7)
    bits = [
        "tenant_id", "sql", "connector", "query", "table", "question", "limit", "warehouse",
        "sales", str(world.globex.tenant), str(workshop.globex_data.connector), "../" * 9,
        "\x00", "\u202e",
        "\ud7ff", "{", "}", '"', "\\", "[", "]", ":", ",", "1e999", "-1", "null", "'; DROP TABLE x",
        "SELECT * FROM read_text('/etc/passwd')", "doc:1", "query:2", "x" * 3_000, "\U0001d4fd",
        "\x1b[2J",
    ]  # fmt: skip
    names = [*workshop.tools(world.acme).specs, None]
    refused = 0
    for _ in range(15):
        tools = workshop.tools(world.acme)
        for _ in range(64):
            spec = chance.choice(names)
            name = spec.name if spec else chance.choice(bits)
            executed = await tools.run(name, _hostile(chance, bits))
            assert executed.outcome in {"ok", "error", "refused"}
            assert "tcn_globex" not in json.dumps(executed.result.content)
            refused += executed.outcome == "refused"
    assert refused > 100
    assert len(await workshop.refusals(world.acme)) >= refused * 0.9
    assert await workshop.refusals(world.globex) == []


def _hostile(chance: random.Random, bits: list[str]) -> str:
    if chance.random() < 0.2:
        return "".join(chance.choices(bits, k=chance.randint(0, 6)))
    values: list[Any] = [*bits, 1, 2.5, True, None, [], {}, {"a": {"b": [1]}}, "SELECT 1"]
    keys = chance.choices(bits[:8], k=chance.randint(0, 3))
    return json.dumps({key: chance.choice(values) for key in keys})
