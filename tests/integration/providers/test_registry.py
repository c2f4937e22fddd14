"""From a providers file to answers over real HTTP, for every kind of account."""

import json
from pathlib import Path
from typing import Any

import pytest

from tenantry.core.clock import SystemClock
from tenantry.core.errors import NotFound
from tenantry.providers.base import ChatRequest, Message
from tenantry.providers.embedded_e5 import EmbeddedE5
from tenantry.providers.registry import ProviderRegistry
from tenantry.providers.usage import usage_in_body
from tests.providers.asking import answer_of
from tests.providers.replies import Reply
from tests.providers.scripted import ScriptedProvider

KEY = "sk-by-file"
THRESHOLDS = {"same_words": 0.8, "some_words": 0.85, "one_word": 0.95, "sentence": 0.5}


def registry_of(tmp_path: Path, content: Any) -> ProviderRegistry:
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "providers.json").write_text(json.dumps(content))
    embedded = EmbeddedE5(SystemClock())
    return ProviderRegistry.from_file(tmp_path / "providers.json", embedded, {})


@pytest.mark.parametrize(
    ("kind", "header"),
    [
        ("openai_compatible", "authorization"),
        ("anthropic", "x-api-key"),
        ("google", "x-goog-api-key"),
    ],
)
@pytest.mark.req("USE-1", "USE-5")
async def test_a_file_leads_to_answers_also_on_the_raw_path(
    tmp_path: Path, provider: ScriptedProvider, kind: str, header: str
) -> None:
    registry = registry_of(tmp_path, provider.accounts_file("key", kind))
    route = registry.resolve("scripted/scripted-1")
    messages = (Message("user", "What is it?"),)
    text, end = await answer_of(route.model, ChatRequest(route.upstream, messages))
    assert text == "The answer is 42."
    raw = registry.resolve_raw("scripted/scripted-1")
    body = {"model": raw.upstream_model, "messages": [{"role": "user", "content": "What is it?"}]}
    asked = json.dumps(body | {raw.limit_field: 9}).encode()
    response = await raw.door("chat").upstream.open(raw.door("chat").path, asked, {})
    whole = b"".join([chunk async for chunk in response.chunks])
    response.close()
    assert json.loads(whole)["choices"][0]["message"]["content"] == "The answer is 42."
    assert usage_in_body(whole) == end.usage
    assert all(KEY in call.headers[header] for call in provider.calls)
    assert [call.model for call in provider.calls] == ["scripted-1"] * 2
    await registry.close()


async def test_attempts_and_patience_of_the_file_are_kept(
    tmp_path: Path, provider: ScriptedProvider
) -> None:
    content = provider.accounts_file("key")
    content["accounts"][0] |= {"attempts": 1, "timeouts": {"connect_s": 0.5, "first_s": 0.2}}
    registry = registry_of(tmp_path, content)
    route = registry.resolve("scripted/scripted-2")
    provider.answer = Reply(status=503, error={})
    with pytest.raises(Exception, match="503"):
        await answer_of(route.model)
    provider.answer = Reply("late", latency_s=30)
    with pytest.raises(Exception, match="in time"):
        await answer_of(route.model)
    assert len(provider.calls) == 2
    await registry.close()


@pytest.mark.req("VEC-3")
async def test_an_embedder_of_the_file_embeds(tmp_path: Path, provider: ScriptedProvider) -> None:
    content = provider.accounts_file("key")
    content["accounts"][0]["models"].append({"name": "embed", "kind": "embedding"})
    content |= {"keyless": THRESHOLDS}
    content["embedder"] = {"account": "scripted", "model": "embed", "dimension": 8}
    registry = registry_of(tmp_path, content)
    assert (await registry.embedder.embed_query("x")).shape == (8,)
    raw = registry.resolve_raw("scripted/embed")
    asked = json.dumps({"model": raw.upstream_model, "input": "one two"}).encode()
    response = await raw.door("embeddings").upstream.open("/embeddings", asked, {})
    whole = b"".join([chunk async for chunk in response.chunks])
    assert len(json.loads(whole)["data"][0]["embedding"]) == 8
    with pytest.raises(NotFound):
        registry.resolve("scripted/embed")
    await registry.close()


async def test_a_local_account_is_resolved_without_loading_anything(tmp_path: Path) -> None:
    (tmp_path / "smol.gguf").write_bytes(b"GGUF" + bytes(64))
    models = [{"name": "smol", "path": "smol.gguf", "max_output_tokens": 64}]
    registry = registry_of(
        tmp_path, {"accounts": [{"name": "local", "kind": "local", "models": models}]}
    )
    assert registry.resolve("local/smol").max_output_tokens == 64
    assert registry.raw_names() == ("local/smol",)
    await registry.close()


@pytest.mark.req("CTX-3")
async def test_two_accounts_never_share_a_connection_or_a_key(
    tmp_path: Path, provider: ScriptedProvider
) -> None:
    one = provider.accounts_file("key")["accounts"][0]
    (tmp_path / "other").write_text("sk-other")
    two = one | {"name": "other", "key_file": "other"}
    registry = registry_of(tmp_path, {"accounts": [one, two]})
    for name in ("scripted/scripted-1", "other/scripted-1") * 2:
        await answer_of(registry.resolve(name).model)
    by_key = {(call.headers["authorization"], call.port) for call in provider.calls}
    assert len(by_key) == 2
    assert len({port for _, port in by_key}) == 2
    await registry.close()
