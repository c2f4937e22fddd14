"""The providers file and the names it gives; nothing here touches the network."""

import json
from pathlib import Path
from typing import Any

import pytest

from tenantry.core.clock import SystemClock
from tenantry.core.errors import NotFound, StartupRefused
from tenantry.providers.base import UpstreamAccount
from tenantry.providers.embedded_e5 import EmbeddedE5
from tenantry.providers.keyless import KeylessAnswerer
from tenantry.providers.openai_embeddings import OpenAICompatibleEmbedder
from tenantry.providers.registry import ProviderRegistry

SECRET = "sk-very-secret-0123456789"
MODEL = {"name": "gpt-x", "max_output_tokens": 77}
ACCOUNT = {
    "name": "openai",
    "kind": "openai_compatible",
    "base_url": "https://api.example.com/v1/",
    "key_env": "SOME_KEY",
    "models": [MODEL],
}
THRESHOLDS = {"same_words": 0.8, "some_words": 0.85, "one_word": 0.95, "sentence": 0.5}
EMBEDDING = {"name": "embed-small", "kind": "embedding"}
EMBEDDER = {"account": "openai", "model": "embed-small", "dimension": 8}


def opened(tmp_path: Path, content: Any, **environ: str) -> ProviderRegistry:
    path = tmp_path / "providers.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    embedded = EmbeddedE5(SystemClock())
    return ProviderRegistry.from_file(path, embedded, {"SOME_KEY": SECRET, **environ})


def test_without_a_file_there_is_the_keyless_answerer_and_the_embedded_embedder() -> None:
    embedded = EmbeddedE5(SystemClock())
    registry = ProviderRegistry.from_file(None, embedded)
    (route,) = registry.routes()
    assert (route.name, route.provider, route.upstream) == ("keyless",) * 3
    assert isinstance(route.model, KeylessAnswerer)
    assert registry.embedder is embedded
    assert registry.raw_names() == ()
    assert registry.resolve("keyless") is route


def test_models_are_named_after_their_account(tmp_path: Path) -> None:
    registry = opened(tmp_path, {"accounts": [ACCOUNT]})
    assert [route.name for route in registry.routes()] == ["keyless", "openai/gpt-x"]
    route, raw = registry.resolve("openai/gpt-x"), registry.resolve_raw("openai/gpt-x")
    assert (route.provider, route.upstream, route.max_output_tokens) == ("openai", "gpt-x", 77)
    assert (raw.provider, raw.upstream_model, raw.max_output_tokens) == ("openai", "gpt-x", 77)
    assert {surface: door.path for surface, door in raw.doors.items()} == {
        "chat": "/chat/completions",
        "responses": "/responses",
        "embeddings": "/embeddings",
    }
    assert raw.limit_field == "max_completion_tokens"
    assert route.account == raw.account == UpstreamAccount("openai")
    assert (raw.account.payer, route.fallbacks, raw.fallbacks) == ("platform", (), ())
    assert repr(raw.door("chat").upstream) == "HttpUpstream('https://api.example.com/v1')"


def test_an_account_may_have_another_price_key_and_field_and_model_name(tmp_path: Path) -> None:
    models = [{"name": "qwen", "upstream": "Qwen/Qwen3-8B"}]
    more = {"provider": "openai", "max_tokens_field": "max_tokens", "models": models}
    registry = opened(tmp_path, {"accounts": [ACCOUNT | {"name": "vllm"} | more]})
    raw = registry.resolve_raw("vllm/qwen")
    assert (raw.provider, raw.upstream_model, raw.limit_field) == (
        "openai",
        "Qwen/Qwen3-8B",
        "max_tokens",
    )


@pytest.mark.parametrize("name", ["", "gpt-x", "openai", "openai/", "openai/GPT-X", "other/gpt-x"])
def test_an_unknown_name_is_not_found(tmp_path: Path, name: str) -> None:
    registry = opened(tmp_path, {"accounts": [ACCOUNT]})
    with pytest.raises(NotFound):
        registry.resolve(name)
    with pytest.raises(NotFound):
        registry.resolve_raw(name)


def test_a_model_that_only_embeds_takes_raw_calls_and_answers_nothing(tmp_path: Path) -> None:
    registry = opened(tmp_path, {"accounts": [ACCOUNT | {"models": [MODEL, EMBEDDING]}]})
    assert registry.raw_names() == ("openai/gpt-x", "openai/embed-small")
    with pytest.raises(NotFound):
        registry.resolve("openai/embed-small")


def test_an_embedder_of_ones_own_replaces_the_embedded_one(tmp_path: Path) -> None:
    accounts = [ACCOUNT | {"models": [EMBEDDING]}]
    content = {"accounts": accounts, "embedder": EMBEDDER, "keyless": THRESHOLDS}
    registry = opened(tmp_path, content)
    assert isinstance(registry.embedder, OpenAICompatibleEmbedder)
    assert (registry.embedder.name, registry.embedder.dimension) == ("openai/embed-small", 8)


@pytest.mark.req("SEC-6")
def test_keys_are_shown_nowhere(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\n")
    by_file = ACCOUNT | {"name": "two", "key_env": "", "key_file": "key"}
    registry = opened(tmp_path, {"accounts": [ACCOUNT, by_file]})
    shown = repr(registry) + repr(registry.routes()) + repr(vars(registry))
    for name in registry.raw_names():
        shown += repr(registry.resolve_raw(name)) + repr(registry.resolve_raw(name).doors)
    shown += "".join(repr(a) for a in registry._accounts.values())
    assert SECRET not in shown
    for account in ("openai", "two"):
        upstream = registry.resolve_raw(f"{account}/gpt-x").door("chat").upstream
        assert vars(upstream)["_fixed"]["authorization"] == f"Bearer {SECRET}"


def without(field: str) -> dict[str, Any]:
    return {name: value for name, value in ACCOUNT.items() if name != field}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "cannot be read as JSON"),
        ("\x00\xff", "cannot be read as JSON"),
        ([], "providers.json is not valid"),
        ({"account": []}, "account: Extra inputs"),
        ({"accounts": [ACCOUNT | {"api_key": SECRET}]}, "accounts.0.api_key: Extra inputs"),
        ({"accounts": [ACCOUNT | {"kind": SECRET}]}, "accounts.0.kind"),
        ({"accounts": [ACCOUNT, ACCOUNT]}, "two accounts have the same name"),
        ({"accounts": [ACCOUNT | {"models": [MODEL, MODEL]}]}, "two models"),
        ({"accounts": [ACCOUNT | {"models": []}]}, "accounts.0.models"),
        ({"accounts": [ACCOUNT | {"name": "keyless"}]}, "belongs to the built-in answerer"),
        ({"accounts": [ACCOUNT | {"name": "Open AI"}]}, "accounts.0.name"),
        ({"accounts": [without("base_url")]}, "base_url must be"),
        ({"accounts": [ACCOUNT | {"key_file": "key"}]}, "exclude each other"),
        ({"accounts": [ACCOUNT | {"attempts": 0}]}, "accounts.0.attempts"),
        ({"accounts": [ACCOUNT | {"timeouts": {"first_s": -1}}]}, "accounts.0.timeouts.first_s"),
        ({"accounts": [ACCOUNT | {"models": [{"name": "a b"}]}]}, "accounts.0.models.0.name"),
        ({"accounts": [ACCOUNT], "embedder": EMBEDDER}, "thresholds"),
    ],
)
def test_a_wrong_file_refuses_to_start_and_says_where(
    tmp_path: Path, content: Any, told: str
) -> None:
    with pytest.raises(StartupRefused) as raised:
        opened(tmp_path, content)
    assert told in raised.value.message
    assert SECRET not in raised.value.message


@pytest.mark.parametrize(
    "url",
    [
        "api.example.com/v1",
        "ftp://api.example.com",
        "https://",
        "https://user:pw@api.example.com",
        "https://api.example.com/v1?key=1",
        "https://api.example.com/#x",
        "https://api.example.com:port",
        "https://ex\u00e4mple.com",
    ],
)
def test_a_base_url_is_a_plain_http_address(tmp_path: Path, url: str) -> None:
    with pytest.raises(StartupRefused, match="base_url"):
        opened(tmp_path, {"accounts": [ACCOUNT | {"base_url": url}]})


@pytest.mark.parametrize("key", ["", "  ", "two words", "line\nbreak", "ключ", "\x07"])
def test_a_key_that_is_none_refuses_to_start(tmp_path: Path, key: str) -> None:
    with pytest.raises(StartupRefused, match="environment variable SOME_KEY holds no key"):
        opened(tmp_path, {"accounts": [ACCOUNT]}, SOME_KEY=key)
    (tmp_path / "key").write_text(key)
    by_file = without("key_env") | {"key_file": "key"}
    with pytest.raises(StartupRefused, match="holds no key"):
        opened(tmp_path, {"accounts": [by_file]})


def test_a_key_file_that_is_not_there_refuses_to_start(tmp_path: Path) -> None:
    with pytest.raises(StartupRefused, match="cannot be read"):
        opened(tmp_path, {"accounts": [without("key_env") | {"key_file": "none"}]})


def test_a_missing_providers_file_refuses_to_start(tmp_path: Path) -> None:
    with pytest.raises(StartupRefused, match=r"none\.json cannot be read"):
        ProviderRegistry.from_file(tmp_path / "none.json", EmbeddedE5(SystemClock()))


@pytest.mark.parametrize("wrong", [{"account": "other"}, {"model": "gpt-x"}, {"model": "none"}])
def test_an_embedder_must_be_an_embedding_model_of_an_account(
    tmp_path: Path, wrong: dict[str, str]
) -> None:
    accounts = [ACCOUNT | {"models": [MODEL, EMBEDDING]}]
    content = {"accounts": accounts, "embedder": EMBEDDER | wrong, "keyless": THRESHOLDS}
    with pytest.raises(StartupRefused, match="embedder"):
        opened(tmp_path, content)


async def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    registry = opened(tmp_path, {"accounts": [ACCOUNT]})
    await registry.close()
    await registry.close()
