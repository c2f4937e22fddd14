"""A scripted provider, and a model of each kind that speaks to it."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from tenantry.providers import anthropic, google
from tenantry.providers.anthropic import AnthropicModel
from tenantry.providers.base import ChatModel
from tenantry.providers.calls import Retry
from tenantry.providers.google import GoogleModel
from tenantry.providers.openai_compatible import OpenAICompatibleModel
from tenantry.providers.upstream import HttpUpstream, Patience
from tests.providers.scripted import ScriptedProvider

KEY = "sk-test-3a5f9c"
SHORT = Patience(connect_s=0.5, first_s=0.3, idle_s=0.3)
LONG = Patience(connect_s=10.0, first_s=20.0, idle_s=20.0)
QUICK = Retry(attempts=3, base_s=0.001, most_s=0.002)
KINDS = ("openai_compatible", "anthropic", "google")

ModelMaker = Callable[[str, Patience], ChatModel]


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as provider:
        yield provider


@pytest.fixture
async def make(provider: ScriptedProvider) -> AsyncIterator[ModelMaker]:
    """Makes models; closes their connections afterwards."""
    made: list[HttpUpstream] = []

    def door(path: str, headers: dict[str, str], patience: Patience) -> HttpUpstream:
        made.append(HttpUpstream(provider.url + path, headers, patience))
        return made[-1]

    def model(kind: str, patience: Patience) -> ChatModel:
        if kind == "anthropic":
            upstream = door("", anthropic.key_headers(KEY), patience)
            return AnthropicModel(upstream, patience, QUICK)
        if kind == "google":
            return GoogleModel(door("", google.key_headers(KEY), patience), patience, QUICK)
        upstream = door("/v1", {"authorization": f"Bearer {KEY}"}, patience)
        return OpenAICompatibleModel(upstream, patience=patience, retry=QUICK)

    yield model
    for upstream in made:
        await upstream.close()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model(make: ModelMaker, kind: str) -> ChatModel:
    """A model of each kind in turn."""
    return make(kind, LONG)


@pytest.fixture
def hasty(make: ModelMaker, kind: str) -> ChatModel:
    """The same, with little patience."""
    return make(kind, SHORT)
