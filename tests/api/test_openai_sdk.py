"""The official OpenAI SDK, unmodified, over real HTTP (USE-1)."""

import openai
import pytest
from openai import AsyncOpenAI

from tests.providers.replies import Reply
from tests.providers.scripted import ScriptedProvider
from tests.service import Service

HANDBOOK = b"# Refunds\n\nCustomers may ask for a refund within 21 days of the flight.\n"
QUESTION = "How many days do customers have to ask for a refund?"


def _client(service: Service, credential: str = "") -> AsyncOpenAI:
    key = credential or service.acme.credential
    return AsyncOpenAI(base_url=f"{service.base_url}/v1", api_key=key, max_retries=0)


@pytest.mark.req("USE-1")
async def test_it_lists_assistants_and_raw_models(modelled: Service) -> None:
    async with _client(modelled) as client:
        names = [model.id async for model in client.models.list()]
        assert {"analyst", "scripted/scripted-1", "embedded"} <= set(names)
        assert (await client.models.retrieve("analyst")).owned_by == "assistant"
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("nobody")


@pytest.mark.req("USE-1", "CTX-2")
async def test_it_chats_with_an_assistant_that_quotes_the_tenants_own_documents(
    modelled: Service,
) -> None:
    await modelled.acme.upload("/v1/documents", "refunds.md", HANDBOOK)
    async with _client(modelled) as client:
        answer = await client.chat.completions.create(
            model="analyst", messages=[{"role": "user", "content": QUESTION}]
        )
        assert "21 days" in (answer.choices[0].message.content or "")
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage is not None
        assert answer.usage.total_tokens > 0
        facts = (answer.model_extra or {})["tenantry"]
        assert facts["citations"][0]["title"] == "refunds.md"
        kept = await modelled.acme.get(f"/v1/conversations/{facts['conversation_id']}")
        assert [m["role"] for m in kept.body["messages"]] == ["user", "assistant"]


@pytest.mark.req("USE-1")
async def test_it_streams_an_assistants_answer_with_usage(modelled: Service) -> None:
    await modelled.acme.upload("/v1/documents", "refunds.md", HANDBOOK)
    async with _client(modelled) as client:
        stream = await client.chat.completions.create(
            model="analyst",
            messages=[{"role": "user", "content": QUESTION}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert "21 days" in said
    assert chunks[-1].usage is not None
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"


@pytest.mark.req("USE-1")
async def test_a_neighbours_same_question_gets_the_neighbours_own_answer(
    modelled: Service,
) -> None:
    await modelled.acme.upload("/v1/documents", "refunds.md", HANDBOOK)
    theirs = HANDBOOK.replace(b"21 days of the flight", b"14 days of delivery")
    await modelled.globex.upload("/v1/documents", "refunds.md", theirs)
    said = {}
    for name, credential in (
        ("acme", modelled.acme.credential),
        ("globex", modelled.globex.credential),
    ):
        async with _client(modelled, credential) as client:
            answer = await client.chat.completions.create(
                model="analyst", messages=[{"role": "user", "content": QUESTION}]
            )
        said[name] = answer.choices[0].message.content or ""
    assert "21 days" in said["acme"]
    assert "14" not in said["acme"]
    assert "14 days" in said["globex"]
    assert "21" not in said["globex"]


@pytest.mark.req("USE-1")
async def test_it_goes_on_with_a_conversation(
    modelled: Service, provider: ScriptedProvider
) -> None:
    created = await modelled.acme.post(
        "/v1/assistants",
        {"name": "scribe", "instructions": "Be brief.", "model": "scripted/scripted-1"},
    )
    assert created.status == 201, created.body
    provider.answer = Reply("Noted.")
    async with _client(modelled) as client:
        first = await client.chat.completions.create(
            model="scribe", messages=[{"role": "user", "content": "Remember the number 7741."}]
        )
        conversation = (first.model_extra or {})["tenantry"]["conversation_id"]
        await client.chat.completions.create(
            model="scribe",
            messages=[{"role": "user", "content": "Which number was it?"}],
            extra_body={"conversation_id": conversation},
        )
    assert any("7741" in text for text in provider.calls[-1].prompt)
    assert any("Be brief." in text for text in provider.calls[-1].prompt)


@pytest.mark.req("USE-1")
async def test_errors_are_raised_as_the_sdks_own(
    modelled: Service, provider: ScriptedProvider
) -> None:
    async with _client(modelled, "tnt_live_nothing") as nobody:
        with pytest.raises(openai.AuthenticationError):
            await nobody.models.list()
    async with _client(modelled) as client:
        with pytest.raises(openai.NotFoundError) as missing:
            await client.chat.completions.create(
                model="nobody", messages=[{"role": "user", "content": "hi"}]
            )
        assert missing.value.code == "not_found"
        provider.answer = Reply(status=500)
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(
                model="scripted/scripted-1", messages=[{"role": "user", "content": "hi"}]
            )


@pytest.mark.req("USE-1")
async def test_it_embeds(modelled: Service) -> None:
    async with _client(modelled) as client:
        found = await client.embeddings.create(model="embedded", input=["one", "two"])
        assert [len(item.embedding) for item in found.data] == [384, 384]
        assert found.usage.total_tokens > 0
