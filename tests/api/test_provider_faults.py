"""Providers that fail, stall and babble: tried again within bounds, never billed twice."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.api.wired import CHAT, CLAUDE, MESSAGES, OPENAI, RESPONSES, SAID, Wired, wired_platform
from tests.providers.replies import Fault, Reply, refusing
from tests.worlds import Cluster

pytestmark = pytest.mark.asyncio(loop_scope="module")
HASTY = {"model": "hasty/scripted-1", "messages": SAID}
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"model": OPENAI, "messages": SAID},
    RESPONSES: {"model": OPENAI, "input": "Hello there"},
    MESSAGES: {"model": CLAUDE, "messages": SAID, "max_tokens": 500},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Wired]:
    async with wired_platform(cluster, tmp_path_factory.mktemp("faults")) as wired:
        yield wired


@pytest.fixture
def wired(served: Wired) -> Wired:
    served.forget()
    return served


@pytest.mark.req("COST-1", "COST-3")
@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("status", [429, 500, 529])
async def test_a_refusal_that_passes_is_tried_again_and_billed_once(
    wired: Wired, path: str, status: int
) -> None:
    wired.provider.queue(refusing(status), Reply("Good day."))
    assert (await wired.post(path, BODIES[path])).status == 200
    refused, answered = wired.provider.calls
    assert refused.request_id == answered.request_id
    (entry,) = wired.closed()
    assert (entry["output_tokens"], entry["confirmed"]) == (answered.streamed_tokens, True)


@pytest.mark.req("COST-3")
async def test_what_a_provider_asks_for_is_waited_for_or_told(wired: Wired) -> None:
    wired.provider.queue(refusing(429, **{"retry-after": "1"}), Reply("Good day."))
    assert (await wired.post(CHAT, BODIES[CHAT])).status == 200
    refused, answered = wired.provider.calls
    assert answered.began_s - refused.began_s >= 1.0
    wired.provider.queue(refusing(429, **{"retry-after": "30"}))
    told = await wired.post(CHAT, BODIES[CHAT])
    assert (told.status, told.headers["retry-after"]) == (503, "30")
    assert len(wired.provider.calls) == 3  # it was left alone


@pytest.mark.req("COST-3")
@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("fault", ["cut", "garbage", "no_end", "error_event"])
async def test_a_broken_stream_is_cut_off_and_settled_by_what_came(
    wired: Wired, path: str, fault: Fault
) -> None:
    wired.provider.queue(Reply("one two three four five", fault=fault, fault_after=3))
    with pytest.raises(aiohttp.ClientError):
        await wired.stream(path, BODIES[path] | {"stream": True})
    (call,) = wired.provider.calls
    (entry,) = wired.closed()
    assert not entry["confirmed"]
    assert 0 < entry["output_tokens"] <= call.streamed_tokens


@pytest.mark.req("COST-3")
@pytest.mark.parametrize(
    ("fault", "stream"),
    [("silent", False), ("silent", True), ("stall", True)],
)
async def test_a_provider_that_stalls_is_given_up_in_time(
    wired: Wired, fault: Fault, *, stream: bool
) -> None:
    wired.provider.answer = Reply("one two three", fault=fault)
    if fault == "stall":
        with pytest.raises(aiohttp.ClientError):
            await wired.stream(CHAT, HASTY | {"stream": True})
    else:
        answer = await wired.post(CHAT, HASTY | {"stream": stream})
        assert (answer.status, answer.body["code"]) == (504, "provider_timeout")
    (call,) = wired.provider.calls  # what may have been answered is not asked again
    (entry,) = wired.closed()
    assert not entry["confirmed"]
    assert entry["input_tokens"] > 0
    assert entry["output_tokens"] <= call.streamed_tokens


@pytest.mark.req("COST-3")
@pytest.mark.parametrize("path", BODIES)
async def test_a_client_that_leaves_near_the_end_is_billed_exactly(wired: Wired, path: str) -> None:
    wired.provider.queue(Reply("word " * 20, token_s=0.01))
    await _leave_early(wired, path)
    await wired.provider.wait_for(lambda: wired.provider.calls[0].outcome == "finished")
    await _until_closed(wired)
    (entry,) = wired.closed()
    assert (entry["output_tokens"], entry["confirmed"]) == (20, True)


@pytest.mark.req("COST-3")
async def test_few_calls_of_a_tenant_go_on_without_their_clients(wired: Wired) -> None:
    wired.provider.answer = Reply("word " * 400, token_s=0.02)
    await asyncio.gather(*(_leave_early(wired, CHAT) for _ in range(12)))
    calls = wired.provider.calls
    await wired.provider.wait_for(
        lambda: sum(call.outcome == "disconnected" for call in calls) >= 4, timeout_s=1.5
    )
    assert sum(call.outcome == "open" for call in calls) <= 8
    await wired.provider.wait_for(
        lambda: all(call.outcome == "disconnected" for call in calls), timeout_s=4
    )
    await _until_closed(wired, 12)
    assert all(0 < entry["output_tokens"] < 400 for entry in wired.closed())


@pytest.mark.req("COST-3")
async def test_a_whole_answer_that_nobody_waits_for_is_paid_for(wired: Wired) -> None:
    wired.provider.queue(Reply("Good day.", latency_s=0.5))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await wired.post(CHAT, BODIES[CHAT])
    await _until_closed(wired)
    (entry,) = wired.closed()
    assert (entry["output_tokens"], entry["confirmed"]) == (2, True)


async def _leave_early(wired: Wired, path: str) -> None:
    headers = {"authorization": f"Bearer {wired.service.acme.credential}"}
    body = BODIES[path] | {"stream": True}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(wired.service.base_url + path, json=body) as response,
    ):
        await response.content.readany()


async def _until_closed(wired: Wired, calls: int = 1) -> None:
    for _ in range(200):
        if len(wired.closed()) == calls:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the calls were never closed")
