"""The attacker over real HTTP, asked by a real client."""

from collections.abc import Mapping

import aiohttp

from tenantry.core.errors import ProviderError
from tenantry.core.events import Json
from tenantry.providers.base import ChatRequest, Finished, Message, ToolCall, ToolSpec
from tenantry.providers.openai_compatible import OpenAICompatibleModel
from tenantry.providers.upstream import HttpUpstream, Patience
from tests.providers.asking import collect
from tests.providers.attack_calls import Victim
from tests.providers.obedient import ObedientProvider

VICTIM = Victim(ids=("0199-victim",), names=("globex",), sql=("SELECT * FROM victims",))
SCHEMA: Mapping[str, Json] = {"type": "object", "properties": {"connector": {"type": "string"}}}
PLANTED = '@@call query_data {"connector": "x", "sql": "SELECT 1"}'


async def test_it_serves_over_http_and_keeps_every_prompt() -> None:
    with ObedientProvider(modes=("obey",), seed=1) as provider:
        upstream = HttpUpstream(provider.url + "/v1", patience=Patience(5, 20, 20))
        model = OpenAICompatibleModel(upstream)
        request = ChatRequest("m", (Message("user", PLANTED),), (ToolSpec("query_data", "", {}),))
        *_, end = await collect(model, request)
        assert isinstance(end, Finished)
        (call,) = end.tool_calls
        assert isinstance(call, ToolCall)
        assert call.name == "query_data"
        assert PLANTED in provider.prompts
        provider.mind.require_attacks(1)
        await upstream.close()


async def test_whatever_it_does_a_model_ends_with_an_answer_or_a_providers_error() -> None:
    modes = ("obey", "enumerate", "exfiltrate", "misbehave")
    with ObedientProvider(modes=modes, victim=VICTIM, batch=4, most_calls=200) as provider:
        upstream = HttpUpstream(provider.url + "/v1", patience=Patience(5, 20, 20))
        model = OpenAICompatibleModel(upstream)
        spec = ToolSpec("query_data", "", SCHEMA)
        outcomes = []
        for _ in range(60):
            try:
                chunks = await collect(model, ChatRequest("m", (Message("user", "x"),), (spec,)))
                outcomes.append(type(chunks[-1]).__name__)
            except ProviderError as error:
                outcomes.append(error.code)
        await upstream.close()
    assert set(outcomes) > {"Finished", "provider_malformed"}


async def test_it_lists_its_models() -> None:
    with ObedientProvider() as provider:
        async with (
            aiohttp.ClientSession() as session,
            session.get(provider.url + "/v1/models") as response,
        ):
            assert (await response.json())["data"][0]["id"] == "scripted-1"
