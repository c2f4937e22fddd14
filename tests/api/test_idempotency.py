"""A call is made once, however often its client asks under one key."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.api.wired import CHAT, MESSAGES, OPENAI, SAID, Wired, wired_platform
from tests.providers.replies import Reply, refusing
from tests.worlds import Cluster

pytestmark = pytest.mark.asyncio(loop_scope="module")
BODY = {"model": OPENAI, "messages": SAID}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Wired]:
    async with wired_platform(cluster, tmp_path_factory.mktemp("once")) as wired:
        yield wired


@pytest.fixture
def wired(served: Wired) -> Wired:
    served.forget()
    return served


@pytest.mark.req("COST-3")
async def test_a_call_that_was_answered_is_not_made_again(wired: Wired) -> None:
    assert (await wired.post(CHAT, BODY, idempotency_key="k1")).status == 200
    again = await wired.post(CHAT, BODY, idempotency_key="k1")
    assert (again.status, again.body["code"]) == (409, "already_made")
    (entry,) = wired.closed()
    assert str(entry["call_id"]) in again.body["detail"]
    assert again.headers["x-should-retry"] == "false"
    assert len(wired.provider.calls) == 1


@pytest.mark.req("COST-3")
async def test_another_body_under_the_same_key_is_refused(wired: Wired) -> None:
    assert (await wired.post(CHAT, BODY, idempotency_key="k2")).status == 200
    other = await wired.post(CHAT, BODY | {"temperature": 1}, idempotency_key="k2")
    assert (other.status, other.body["code"]) == (422, "idempotency_key_reused")
    elsewhere = await wired.post(
        MESSAGES, BODY | {"model": "claude/scripted-1"}, idempotency_key="k2"
    )
    assert elsewhere.status == 422
    assert len(wired.provider.calls) == 1
    assert len(wired.rows("intent")) == 1


@pytest.mark.req("COST-3")
async def test_of_many_at_once_one_is_made(wired: Wired) -> None:
    wired.provider.answer = Reply("slow", latency_s=0.3)
    answers = await asyncio.gather(
        *(wired.post(CHAT, BODY, idempotency_key="k3") for _ in range(8))
    )
    assert sorted(a.status for a in answers) == [200] + [409] * 7
    assert len(wired.provider.calls) == len(wired.rows("intent")) == len(wired.closed()) == 1


@pytest.mark.req("COST-3")
async def test_a_call_that_used_nothing_gives_its_key_back(wired: Wired) -> None:
    wired.provider.queue(refusing(413), refusing(400))
    assert (await wired.post(CHAT, BODY, idempotency_key="k4")).status == 400
    assert (await wired.post(CHAT, BODY, idempotency_key="k4")).status == 400
    assert (await wired.post(CHAT, BODY, idempotency_key="k4")).status == 200
    assert (await wired.post(CHAT, BODY, idempotency_key="k4")).status == 409
    changed = await wired.post(CHAT, BODY | {"n": 1}, idempotency_key="k4")
    assert changed.status == 422
    assert len(wired.provider.calls) == len(wired.closed()) == 3


@pytest.mark.req("COST-3")
async def test_a_call_that_may_have_been_used_keeps_its_key(wired: Wired) -> None:
    wired.provider.queue(Reply("x", fault="hang_up"))
    assert (await wired.post(CHAT, BODY, idempotency_key="k5")).status == 503
    assert (await wired.post(CHAT, BODY, idempotency_key="k5")).status == 409
    (entry,) = wired.closed()
    assert not entry["confirmed"]
    assert entry["input_tokens"] > 0
    assert len(wired.provider.calls) == 1


@pytest.mark.req("COST-3", "DB-4")
async def test_a_key_is_its_tenants_own(wired: Wired) -> None:
    headers = {"idempotency-key": "k6"}
    for client in (wired.service.acme, wired.service.globex):
        answer = await client.call("POST", CHAT, json=BODY, headers=headers)
        assert answer.status == 200
    assert len(wired.provider.calls) == 2


@pytest.mark.req("COST-3")
@pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9"])
async def test_a_key_is_short_and_plain(wired: Wired, key: str) -> None:
    refused = await wired.post(CHAT, BODY, idempotency_key=key)
    assert (refused.status, refused.body["code"]) == (400, "invalid_request")
    assert wired.provider.calls == []


async def test_where_a_key_would_do_nothing_it_is_refused(wired: Wired) -> None:
    body = {"model": "analyst", "messages": SAID}
    assert (await wired.post(CHAT, body, idempotency_key="k7")).status == 400
