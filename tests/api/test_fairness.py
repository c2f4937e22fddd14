"""Fair turns and breakers over HTTP: who is held back, who is not, and what each is told."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.api.conftest import providers_file
from tests.providers.replies import ProviderCall, Reply, refusing
from tests.providers.scripted import ScriptedProvider
from tests.service import ApiClient, Service
from tests.worlds import Cluster

CHAT = "/v1/chat/completions"


def _body(text: str = "Hello", **extra: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": "scripted/scripted-1", "messages": messages, "max_tokens": 10, **extra}


def _for(text: str, reply: Reply) -> Callable[[ProviderCall], Reply]:
    """An account that gives `reply` to whoever says `text`, and answers everybody else."""
    return lambda call: reply if any(text in said for said in call.prompt) else Reply("Fine.")


async def _breakers(client: ApiClient, path: str = "/v1/breakers") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get(path)).body["data"]
    return found


async def _raw(client: ApiClient, base: str, **headers: str) -> tuple[int, Any, dict[str, Any]]:
    """Status, headers and body of a chat."""
    sent = {"authorization": f"Bearer {client.credential}", **headers}
    async with aiohttp.ClientSession(headers=sent) as session:
        answer = await session.post(base + CHAT, json=_body())
        return answer.status, answer.headers, await answer.json(content_type=None)


@pytest.mark.req("FAIR-2")
@pytest.mark.parametrize(
    ("reply", "attempts", "code", "then", "status", "state"),
    [
        (refusing(401), 1, "credential_refused", "credential_refused", 502, "credential"),
        (
            refusing(429, **{"retry-after": "30"}),
            1,
            "provider_unavailable",
            "account_limited",
            429,
            "limited",
        ),
    ],
    ids=["revoked", "limited"],
)
async def test_a_refused_key_and_a_limit_hold_back_whoever_met_them_and_nobody_else(
    modelled: Service,
    provider: ScriptedProvider,
    reply: Reply,
    attempts: int,
    code: str,
    then: str,
    status: int,
    state: str,
) -> None:
    provider.answer = _for("acme", reply)
    first = await modelled.acme.post(CHAT, _body("acme asks"))
    assert first.body["code"] == code
    assert len(provider.calls) == attempts
    for _ in range(3):  # held back here, whatever it asks
        held = await modelled.acme.post(CHAT, _body("something else"))
        assert (held.status, held.body["code"]) == (status, then)
    assert len(provider.calls) == attempts
    for _ in range(3):
        assert (await modelled.globex.post(CHAT, _body())).status == 200

    (own,) = await _breakers(modelled.acme)
    assert (own["account"], own["state"], own["is_own"]) == ("scripted", state, False)
    assert own["retry_after_s"] > 20
    (neighbours,) = await _breakers(modelled.globex)
    assert neighbours["state"] == "closed"
    (seen,) = await _breakers(modelled.operator, "/v1/operator/breakers")
    assert (seen["tenant_id"], seen["state"]) == (modelled.tenants["acme"]["tenant"]["id"], state)
    events = (await modelled.acme.get("/v1/audit?limit=200")).body["data"]
    told = [event for event in events if event["action"] == "provider.credential_refused"]
    assert len(told) == (state == "credential")
    recent = (await modelled.acme.get("/v1/fairness")).body["recent"]
    assert [(r["before"], r["after"]) for r in recent if r["kind"] == "breaker"] == [
        ("closed", state)
    ]


@pytest.mark.req("FAIR-2")
async def test_an_account_that_fails_one_tenant_is_tried_no_more_for_it(
    modelled: Service, provider: ScriptedProvider
) -> None:
    provider.answer = _for("acme", Reply("x", fault="hang_up"))
    for _ in range(5):
        assert (await modelled.acme.post(CHAT, _body("acme"))).body["code"] == (
            "provider_unavailable"
        )
        assert (await modelled.globex.post(CHAT, _body())).status == 200
    asked = len(provider.calls)
    held = await modelled.acme.post(CHAT, _body("acme"))
    assert (held.status, held.body["code"]) == (503, "breaker_open")
    assert len(provider.calls) == asked
    assert (await modelled.globex.post(CHAT, _body())).status == 200


@pytest.fixture
async def narrow(
    cluster: Cluster, tmp_path: Path, provider: ScriptedProvider
) -> AsyncIterator[Service]:
    """A server whose account bears one call at once, and lets one of a tenant wait."""
    path = providers_file(tmp_path, provider)
    listed = json.loads(path.read_text())
    listed["accounts"][0]["concurrency"] = {"min": 1, "max": 1, "queue": 1, "wait_s": 60}
    path.write_text(json.dumps(listed))
    async with Service.create(cluster, tmp_path, path) as service:
        yield service


@pytest.mark.req("FAIR-1")
async def test_calls_beyond_the_slots_wait_and_beyond_the_queue_are_refused(
    narrow: Service, provider: ScriptedProvider
) -> None:
    may_answer = threading.Event()

    def hold(_call: ProviderCall) -> Reply:
        assert may_answer.wait(60)
        return Reply("Fine.")

    provider.answer = hold
    calls = [asyncio.create_task(_raw(narrow.acme, narrow.base_url)) for _ in range(3)]
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    (refused,) = (task.result() for task in calls if task.done())
    status, headers, problem = refused
    assert (status, problem["code"]) == (429, "queue_full")
    assert int(headers["retry-after"]) >= 1
    neighbours = asyncio.create_task(_raw(narrow.globex, narrow.base_url))

    report = (await narrow.operator.get("/v1/operator/fairness")).body
    (pool,) = (each for each in report["pools"] if each["pool"] == "scripted")
    assert (pool["slots"], pool["running"]) == (1, 1)
    may_answer.set()
    answers = [*await asyncio.gather(*calls), await neighbours]
    assert sorted(status for status, *_ in answers) == [200, 200, 200, 429]
    queued = [int(h["x-tenantry-queue-ms"]) for status, h, _ in answers if status == 200]
    assert min(queued) < max(queued)
    assert len(provider.calls) == 3

    own = (await narrow.acme.get("/v1/fairness")).body
    (turns,) = own["turns"]
    assert (turns["calls"], turns["waited"], turns["refused_full"]) == (2, 1, 1)
    assert "tenant_id" not in turns
    assert "queue_full" in {record["why"] for record in own["recent"]}
    report = (await narrow.operator.get("/v1/operator/fairness")).body
    ids = {narrow.tenants[name]["tenant"]["id"] for name in ("acme", "globex")}
    assert {row["tenant_id"] for row in report["tenants"]} == ids
    assert sum(row["served"] for row in report["tenants"]) == pytest.approx(
        sum(row["fair_share"] for row in report["tenants"])
    )


@pytest.mark.req("FAIR-1")
async def test_a_request_says_in_which_lane_it_waits(
    modelled: Service, provider: ScriptedProvider
) -> None:
    del provider
    for lane, status in (("batch", 200), ("interactive", 200), ("express", 400)):
        answered, *_ = await _raw(modelled.acme, modelled.base_url, **{"x-tenantry-lane": lane})
        assert answered == status


@pytest.mark.req("FAIR-1")
async def test_an_operator_weighs_a_tenant_and_it_holds_at_once(service: Service) -> None:
    tenant = service.tenants["acme"]["tenant"]
    assert tenant["weight"] == 1
    changed = await service.operator.call("PATCH", "/v1/tenants/acme", json={"weight": 2.5})
    assert (changed.body["weight"], changed.body["status"]) == (2.5, "active")
    capacity = service.platform.admission.capacity
    async with asyncio.timeout(10):
        # The server takes it up once it hears of it from the database.
        while 2.5 not in {
            capacity.weight(t) for t in await service.platform.upkeep.base.weights.read()
        }:
            await service.operator.get("/v1/tenants/acme")
    for body in ({"weight": 0}, {"weight": 101}, {"weight": "x"}, {}):
        assert (await service.operator.call("PATCH", "/v1/tenants/acme", json=body)).status == 400
