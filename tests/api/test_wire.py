"""Raw calls of every API: bytes in, bytes out, each settled by the provider's own figures."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.api.wired import (
    CHAT,
    CLAUDE,
    MESSAGES,
    OPENAI,
    RESPONSES,
    SAID,
    Wired,
    wired_platform,
)
from tests.providers.replies import CallOf, Reply, refusing
from tests.worlds import Cluster

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Wired]:
    async with wired_platform(cluster, tmp_path_factory.mktemp("wire")) as wired:
        yield wired


@pytest.fixture
def wired(served: Wired) -> Wired:
    served.forget()
    return served


@pytest.mark.req("USE-1")
@pytest.mark.parametrize(
    ("path", "sent", "expected"),
    [
        (
            CHAT,
            '{ "model" : "scripted/scripted-1", "messages":[{"content":"\\u0048i","role":"user"}],'
            '"max_completion_tokens": 5, "x": 1.50e+2, "x": 123456789012345678901, "y":{"b":1}'
            ' }',
            '{ "model" : "scripted-1", "messages":[{"content":"\\u0048i","role":"user"}],'
            '"max_completion_tokens": 5, "x": 1.50e+2, "x": 123456789012345678901, "y":{"b":1}'
            ' }',
        ),
        (
            MESSAGES,
            '{"max_tokens":5,"model":"claude/scripted-1","messages":[{"content":"Hi","role":"user"}],'
            '"metadata":{"user_id":"\\ud83d\\ude00"},"top_k":1e0}',
            '{"max_tokens":5,"model":"scripted-1","messages":[{"content":"Hi","role":"user"}],'
            '"metadata":{"user_id":"\\ud83d\\ude00"},"top_k":1e0}',
        ),
        (
            RESPONSES,
            '{"input":"Hi","max_output_tokens":16,"store":false,'
            '"model":"scripted/scripted-1","q":1.0}',
            '{"input":"Hi","max_output_tokens":16,"store":false,"model":"scripted-1","q":1.0}',
        ),
    ],
)  # fmt: skip
async def test_unknown_fields_reach_the_provider_byte_for_byte(
    wired: Wired, path: str, sent: str, expected: str
) -> None:
    answer = await wired.post(path, sent.encode())
    assert answer.status == 200, answer.body
    (call,) = wired.provider.calls
    assert call.raw == expected.encode()


BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"model": OPENAI, "messages": SAID},
    RESPONSES: {"model": OPENAI, "input": "Hello there"},
    MESSAGES: {"model": CLAUDE, "messages": SAID, "max_tokens": 50},
}


@pytest.mark.req("USE-1", "COST-1", "COST-3")
@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_is_settled_by_the_providers_own_figures(
    wired: Wired, path: str, *, stream: bool
) -> None:
    reply = Reply("one two three", cached=1, calls=(CallOf("look", '{"n": 1}', "c1"),))
    wired.provider.queue(reply)
    if stream:
        assert b"three" in await wired.stream(path, BODIES[path] | {"stream": True})
    else:
        assert (await wired.post(path, BODIES[path])).status == 200
    (call,) = wired.provider.calls
    (entry,) = wired.closed()
    assert (entry["input_tokens"], entry["cached_tokens"], entry["output_tokens"]) == (
        call.prompt_tokens,
        1,
        call.streamed_tokens,
    )
    assert entry["confirmed"]
    assert str(entry["call_id"]) == call.request_id
    assert entry["upstream_id"].endswith(f"{call.number}")
    assert call.headers.get("x-api-key") == ("sk-scripted-secret" if path == MESSAGES else None)


@pytest.mark.req("COST-1", "COST-3")
async def test_cache_writes_and_sound_are_counted_apart(wired: Wired) -> None:
    kept = {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 2}
    usage = {"input_tokens": 3, "cache_creation_input_tokens": 7, "output_tokens": 2}
    wired.provider.queue(Reply("a b", usage=usage | {"cache_creation": kept}))
    await wired.stream(MESSAGES, BODIES[MESSAGES] | {"stream": True})
    wired.provider.queue(
        Reply(
            "a b",
            usage={
                "prompt_tokens": 9,
                "completion_tokens": 8,
                "prompt_tokens_details": {"audio_tokens": 4, "image_tokens": 1},
                "completion_tokens_details": {"audio_tokens": 6},
            },
        )
    )
    await wired.post(CHAT, BODIES[CHAT])
    written, heard = wired.closed()
    assert (written["input_tokens"], written["cache_write_tokens"]) == (10, 7)
    assert written["cache_write_1h_tokens"] == 2
    assert (heard["audio_input_tokens"], heard["image_tokens"]) == (4, 1)
    assert (heard["audio_output_tokens"], heard["confirmed"]) == (6, True)


@pytest.mark.req("USE-1")
async def test_the_versions_that_an_anthropic_client_names_are_passed_on(wired: Wired) -> None:
    headers = {"anthropic-version": "2024-01-01", "anthropic-beta": "one-2025,two-2025"}
    url = MESSAGES + "?beta=true"
    key = {"x-api-key": wired.service.acme.credential}
    client = wired.service.client()
    answer = await client.call("POST", url, json=BODIES[MESSAGES], headers=headers | key)
    assert answer.status == 200
    (call,) = wired.provider.calls
    assert {name: call.headers[name] for name in headers} == headers
    assert call.headers["x-api-key"] == "sk-scripted-secret"


@pytest.mark.req("USE-1")
@pytest.mark.parametrize(
    ("path", "model", "told"),
    [
        (MESSAGES, OPENAI, "/v1/chat/completions"),
        (RESPONSES, CLAUDE, "/v1/messages"),
        (MESSAGES, "analyst", "Assistants"),
        ("/v1/embeddings", CLAUDE, "/v1/messages"),
    ],
)
async def test_a_model_that_does_not_speak_an_api_says_which_it_does(
    wired: Wired, path: str, model: str, told: str
) -> None:
    answer = await wired.post(path, {"model": model, "messages": SAID, "input": "x"})
    assert answer.status == 400
    assert told in answer.body["detail"]
    assert wired.provider.calls == []
    assert wired.rows("intent") == []


@pytest.mark.req("USE-1")
async def test_a_model_of_anthropics_answers_chat_completions_over_the_bridge(
    wired: Wired,
) -> None:
    answer = await wired.post(CHAT, {"model": CLAUDE, "messages": SAID})
    assert answer.body["choices"][0]["message"]["content"] == "The answer is 42."
    assert wired.provider.calls[0].path == "/v1/messages"


@pytest.mark.req("USE-1")
@pytest.mark.parametrize(
    ("reply", "status", "kind"),
    [
        (refusing(400), 400, "invalid_request_error"),
        (refusing(401), 502, "api_error"),
        (refusing(529, **{"retry-after": "60"}), 503, "overloaded_error"),
    ],
)
async def test_errors_of_messages_have_anthropics_form(
    wired: Wired, reply: Reply, status: int, kind: str
) -> None:
    wired.provider.answer = reply
    answer = await wired.post(MESSAGES, BODIES[MESSAGES])
    assert answer.status == status
    assert (answer.body["type"], answer.body["error"]["type"]) == ("error", kind)
    assert answer.body["request_id"] == answer.headers["x-request-id"]
    refused = await wired.service.client("nobody").post(MESSAGES, BODIES[MESSAGES])
    assert refused.body["error"]["type"] == "authentication_error"


@pytest.mark.req("CTX-2")
async def test_the_manifest_holds_a_digest_of_each_part_of_the_prompt(wired: Wired) -> None:
    body = BODIES[MESSAGES] | {"system": "Be brief.", "tools": [{"name": "t", "input_schema": {}}]}
    await wired.post(MESSAGES, body)
    events = (await wired.service.acme.get("/v1/audit?limit=5")).body["data"]
    detail = next(e["detail"] for e in events if e["action"] == "model.called")
    assert [s["label"] for s in detail["segments"]] == ["system", "messages", "tools"]
    assert {s["owner"] for s in detail["segments"]} == {
        wired.service.tenants["acme"]["tenant"]["id"]
    }
    assert "Be brief." not in json.dumps(detail)
