"""The raw provider path: bytes in, bytes out, each call in the ledger exactly once."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from tests.providers.replies import Reply, refusing
from tests.providers.scripted import ScriptedProvider
from tests.service import Service

MODEL = "scripted/scripted-1"
HELLO = [{"role": "user", "content": "Hello there"}]


def _body(**extra: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": HELLO, "max_tokens": 50, **extra}


async def _entries(service: Service) -> list[dict[str, Any]]:
    events = (await service.acme.get("/v1/usage/events?limit=100")).body["data"]
    return [e for e in events if e["kind"] in {"settled", "swept", "reconciled"}]


async def _stream(service: Service, body: dict[str, Any]) -> list[str]:
    headers = {"authorization": f"Bearer {service.acme.credential}"}
    url = service.base_url + "/v1/chat/completions"
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, json=body) as response,
    ):
        text = (await response.read()).decode()
    return [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]


@pytest.mark.req("USE-1", "COST-1", "COST-3")
async def test_a_whole_answer_passes_unchanged_and_is_settled_by_the_providers_figures(
    modelled: Service, provider: ScriptedProvider
) -> None:
    provider.queue(Reply("Good day to you.", cached=1))
    answer = await modelled.acme.post("/v1/chat/completions", _body(seed=7, user="jo"))
    assert answer.body["choices"][0]["message"]["content"] == "Good day to you."
    (call,) = provider.calls
    assert (call.body["seed"], call.body["model"]) == (7, "scripted-1")
    assert call.headers["authorization"] == "Bearer sk-scripted-secret"
    (entry,) = await _entries(modelled)
    assert (entry["input_tokens"], entry["output_tokens"], entry["confirmed"]) == (
        call.reported["prompt_tokens"],
        call.reported["completion_tokens"],
        True,
    )
    assert call.headers["x-client-request-id"] == entry["call_id"]


@pytest.mark.req("USE-1", "COST-1")
async def test_a_stream_passes_event_by_event_and_is_settled_before_its_last(
    modelled: Service, provider: ScriptedProvider
) -> None:
    provider.queue(Reply("one two three"))
    events = await _stream(modelled, _body(stream=True))
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    said = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
    assert said == "one two three"
    assert all(c["choices"] for c in chunks)  # the usage event was not asked for
    (entry,) = await _entries(modelled)
    assert entry["output_tokens"] == provider.calls[0].reported["completion_tokens"]


@pytest.mark.req("USE-1")
async def test_a_client_that_asks_for_usage_gets_the_usage_event(
    modelled: Service, provider: ScriptedProvider
) -> None:
    body = _body(stream=True, stream_options={"include_usage": True})
    chunks = [json.loads(e) for e in (await _stream(modelled, body))[:-1]]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == provider.calls[0].reported


@pytest.mark.req("LIM-1", "COST-1")
@pytest.mark.parametrize(("asked", "sent"), [(5, 5), (None, 1024), (999_999, 1024)])
async def test_the_output_bound_is_always_sent(
    modelled: Service, provider: ScriptedProvider, asked: int | None, sent: int
) -> None:
    body: dict[str, Any] = {"model": MODEL, "messages": HELLO}
    if asked:
        body["max_tokens"] = asked
    await modelled.acme.post("/v1/chat/completions", body)
    (call,) = provider.calls
    bounds = [call.body.get(n) for n in ("max_tokens", "max_completion_tokens")]
    assert [bound for bound in bounds if bound is not None] == [sent]


@pytest.mark.req("COST-1", "CTX-2")
async def test_intent_and_manifest_are_durable_before_the_call_leaves(
    modelled: Service, provider: ScriptedProvider
) -> None:
    found: list[tuple[int, int]] = []

    def look(_call: object) -> Reply:
        with modelled.admin() as admin:
            row = admin.execute(
                "SELECT (SELECT count(*) FROM tenantry.usage_events WHERE kind = 'intent'),"
                " (SELECT count(*) FROM tenantry.audit_events WHERE action = 'model.called')"
            ).fetchone()
        assert row is not None
        found.append((row[0], row[1]))
        return Reply("ok")

    provider.answer = look
    await modelled.acme.post("/v1/chat/completions", _body())
    assert found == [(1, 1)]


@pytest.mark.req("COST-1", "COST-3")
@pytest.mark.parametrize(
    ("reply", "status", "code", "attempts"),
    [
        (refusing(400, "sk-scripted-secret is wrong"), 400, "provider_rejected", 1),
        (refusing(401, "sk-scripted-secret is wrong"), 502, "credential_refused", 1),
        (refusing(429), 503, "provider_unavailable", 3),
        (refusing(500), 503, "provider_unavailable", 3),
        (Reply("x", fault="html"), 502, "provider_malformed", 1),
        (Reply("x", fault="hang_up"), 503, "provider_unavailable", 1),
    ],
)
async def test_a_failing_provider_gives_a_clear_problem_and_one_settled_entry(
    modelled: Service,
    provider: ScriptedProvider,
    reply: Reply,
    status: int,
    code: str,
    attempts: int,
) -> None:
    provider.answer = reply
    answer = await modelled.acme.post("/v1/chat/completions", _body())
    assert (answer.status, answer.body["code"]) == (status, code)
    assert "sk-scripted-secret" not in str(answer.body)
    assert len(provider.calls) == attempts
    assert len({call.headers["x-client-request-id"] for call in provider.calls}) == 1
    (entry,) = await _entries(modelled)
    if code == "provider_unavailable":
        assert (entry["output_tokens"], entry["cost_picousd"]) == (0, 0)


@pytest.mark.req("COST-1", "COST-3")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "refusal", [refusing(429, **{"retry-after": "1"}), refusing(429), refusing(503)]
)
async def test_a_call_that_the_provider_failed_is_tried_again_and_billed_once(
    modelled: Service, provider: ScriptedProvider, refusal: Reply, *, stream: bool
) -> None:
    provider.queue(refusal, Reply("Good day to you."))
    if stream:
        assert (await _stream(modelled, _body(stream=True)))[-1] == "[DONE]"
    else:
        assert (await modelled.acme.post("/v1/chat/completions", _body())).status == 200
    refused, answered = provider.calls
    waited_s = answered.began_s - refused.began_s
    assert waited_s >= (1.0 if refusal.headers else 0.1)
    (entry,) = await _entries(modelled)
    assert entry["output_tokens"] == answered.reported["completion_tokens"]
    assert entry["confirmed"]


@pytest.mark.req("COST-3")
async def test_a_cut_stream_is_settled_unconfirmed_by_what_was_streamed(
    modelled: Service, provider: ScriptedProvider
) -> None:
    provider.queue(Reply("one two three four", fault="cut", fault_after=2))
    with pytest.raises(aiohttp.ClientError):
        await _stream(modelled, _body(stream=True))
    (entry,) = await _entries(modelled)
    assert not entry["confirmed"]
    assert 0 < entry["output_tokens"] <= 50
    assert entry["output_tokens"] <= provider.calls[0].streamed_tokens


@pytest.mark.req("COST-3")
async def test_a_client_that_leaves_ends_the_call_upstream_and_pays_for_what_came(
    modelled: Service, provider: ScriptedProvider
) -> None:
    provider.queue(Reply("word " * 400, token_s=0.05))
    headers = {"authorization": f"Bearer {modelled.acme.credential}"}
    url = modelled.base_url + "/v1/chat/completions"
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, json=_body(stream=True, max_tokens=400)) as response,
    ):
        await response.content.readany()
    await provider.wait_for(lambda: provider.calls[0].outcome == "disconnected")
    for _ in range(100):
        if entries := await _entries(modelled):
            break
        await asyncio.sleep(0.05)
    (entry,) = entries
    assert not entry["confirmed"]
    assert 0 < entry["output_tokens"] <= provider.calls[0].streamed_tokens < 400


@pytest.mark.req("COST-3")
@pytest.mark.parametrize("held", ["tenantry.usage_events", "tenantry.audit_events"])
async def test_a_client_that_leaves_before_its_call_was_sent_pays_nothing(
    modelled: Service, provider: ScriptedProvider, held: str
) -> None:
    with modelled.admin() as admin:
        admin.execute("BEGIN")
        admin.execute(f"LOCK TABLE {held} IN EXCLUSIVE MODE".encode())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await modelled.acme.post("/v1/chat/completions", _body())
        await asyncio.sleep(0.2)  # for the server to see that the client has gone
        admin.execute("COMMIT")
    for _ in range(200):
        if entries := await _entries(modelled):
            break
        await asyncio.sleep(0.05)
    (entry,) = entries
    assert (entry["kind"], entry["confirmed"]) == ("settled", True)
    assert (entry["input_tokens"], entry["output_tokens"], entry["cost_picousd"]) == (0, 0, 0)
    assert provider.calls == []


@pytest.mark.req("USE-1")
@pytest.mark.parametrize(
    "body",
    [
        {"model": "scripted/none", "messages": HELLO},
        {"model": MODEL, "messages": []},
        {"model": MODEL, "messages": "hi"},
        {"model": MODEL, "messages": HELLO, "n": 1000},
        {"model": MODEL, "messages": HELLO, "max_tokens": -1},
        {"model": 7, "messages": HELLO},
    ],
)
async def test_a_bad_request_never_reaches_the_provider(
    modelled: Service, provider: ScriptedProvider, body: dict[str, Any]
) -> None:
    answer = await modelled.acme.post("/v1/chat/completions", body)
    assert answer.status in {400, 404}
    assert provider.calls == []
    assert await _entries(modelled) == []


@pytest.mark.req("COST-2")
async def test_raw_embeddings_pass_through_and_are_metered(
    modelled: Service, provider: ScriptedProvider
) -> None:
    body = {"model": MODEL, "input": ["a b c"]}
    answer = await modelled.acme.post("/v1/embeddings", body)
    assert len(answer.body["data"][0]["embedding"]) == provider.dimension
    (entry,) = await _entries(modelled)
    assert (entry["operation"], entry["input_tokens"]) == ("embedding", 3)
