"""What one tenant's model is shown, over real HTTP, with and without the neighbour's data."""

import gc
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from tenantry.agent.events import Answer
from tenantry.agent.loop import AgentLoop
from tenantry.agent.messages import Instruction, Material, Prompt
from tenantry.core.errors import ProviderRejected
from tenantry.isolation.context import TenantContext
from tenantry.providers.base import ChatModel
from tenantry.providers.openai_compatible import OpenAICompatibleModel
from tenantry.providers.upstream import HttpUpstream
from tenantry.sessions.assistants import AssistantVersion, Draft
from tests.heap import holders_of
from tests.integration.agent.stage import MODEL, Stage, answer, asking, play, without_marker
from tests.providers.replies import Reply, refusing
from tests.providers.scripted import ScriptedProvider
from tests.worlds import World

CANARIES = ("tcn_system_QX7A", "tcn_message_QX7B", "tcn_answer_QX7C")


@pytest.fixture
def provider() -> Any:
    with ScriptedProvider(Reply("Fourteen days.")) as provider:
        yield provider


@pytest.fixture
async def model(provider: ScriptedProvider) -> AsyncIterator[ChatModel]:
    upstream = HttpUpstream(provider.url + "/v1")
    yield OpenAICompatibleModel(upstream)
    await upstream.close()


@pytest.fixture
async def stage(world: World) -> Stage:
    stage = Stage(world)
    await stage.cast(world.acme, "Acme: be brief.")
    return stage


async def fill(
    stage: Stage, ctx: TenantContext, loop: AgentLoop, provider: ScriptedProvider
) -> None:
    """Give a tenant everything an answer can be made of, under the names that acme uses."""
    system, message, said = CANARIES
    await stage.cast(ctx, f"Globex: {system}.", settings={"temperature": 1.5})
    provider.queue(Reply(f"It is {said}."), Reply("Yes."))
    first = await answer(loop, ctx, asking(f"What of {message}?"))
    await answer(loop, ctx, asking(conversation=first.conversation_id))


async def two_turns(stage: Stage, loop: AgentLoop, provider: ScriptedProvider) -> list[bytes]:
    """What the provider receives, byte for byte, when acme asks twice; markers taken out."""
    before = len(provider.calls)
    first = await answer(loop, stage.world.acme, asking())
    await answer(loop, stage.world.acme, asking("And after that?", first.conversation_id))
    sent = [json.dumps(call.body, ensure_ascii=False) for call in provider.calls[before:]]
    return [without_marker(text).encode() for text in sent]


@pytest.mark.req("MEM-3", "CTX-2")
async def test_acmes_prompts_are_the_same_bytes_with_and_without_globexs_data(
    world: World, stage: Stage, model: ChatModel, provider: ScriptedProvider
) -> None:
    loop = stage.loop(model)
    alone = await two_turns(stage, loop, provider)
    await fill(stage, world.globex, loop, provider)
    beside = await two_turns(stage, loop, provider)
    assert alone == beside
    assert len(alone) == 2
    assert b"Fourteen days." in alone[1]


@pytest.mark.req("CTX-2", "SEC-5")
async def test_nothing_of_globex_is_in_any_prompt_of_acme(
    world: World, stage: Stage, model: ChatModel, provider: ScriptedProvider
) -> None:
    loop = stage.loop(model)
    await fill(stage, world.globex, loop, provider)
    shown_to_globex = "\n".join(provider.prompts)
    assert all(canary in shown_to_globex for canary in CANARIES), "the canaries are there to leak"
    before = len(provider.prompts)
    await two_turns(stage, loop, provider)
    shown_to_acme = "\n".join(provider.prompts[before:])
    foreign_ids = [str(world.globex.tenant), str(world.globex.actor.id)]
    assert not [text for text in (*CANARIES, *foreign_ids, "tcn_") if text in shown_to_acme]
    owners = {
        segment["owner"]
        for manifest in await stage.manifests(world.acme)
        for segment in manifest["segments"]
    }
    assert owners == {str(world.acme.tenant)}


@pytest.mark.req("CTX-2", "SEC-3")
async def test_no_id_of_the_database_is_shown_to_a_model(
    world: World, stage: Stage, model: ChatModel, provider: ScriptedProvider
) -> None:
    await two_turns(stage, stage.loop(model), provider)
    shown = "\n".join(provider.prompts)
    found = await stage.assistants.find(world.acme, "analyst")
    for secret in (world.acme.tenant, world.acme.actor.id, found.assistant_id, "req-acme"):
        assert str(secret) not in shown


class Configurations:
    """Objects of a tenant's configuration, or made from it, that were not there before."""

    def __init__(self) -> None:
        self._kept = self._all()  # alive, so that no id of theirs is given out again
        self._before = {id(each) for each in self._kept}

    def names(self) -> list[str]:
        return [type(each).__name__ for each in self._all() if id(each) not in self._before]

    def _all(self) -> list[object]:
        gc.collect()
        kinds = (AssistantVersion, Instruction, Material, Prompt)
        return [each for each in gc.get_objects() if isinstance(each, kinds)]


@pytest.mark.req("CTX-1")
@pytest.mark.parametrize("ending", ["answer", "error", "disconnect"])
async def test_nothing_of_a_turn_is_reachable_after_it(
    world: World, stage: Stage, ending: str
) -> None:
    halves = (secrets.token_hex(8), secrets.token_hex(8))
    found = await stage.assistants.find(world.acme, "analyst")
    draft = Draft(f"The word is {''.join(halves)}.", MODEL)
    await stage.assistants.add_version(world.acme, found.assistant_id, draft)
    del found, draft
    reply = refusing(400) if ending == "error" else Reply("Yes, it is.")
    configurations = Configurations()
    with ScriptedProvider(reply) as provider:
        upstream = HttpUpstream(provider.url + "/v1")
        await take_part(stage, OpenAICompatibleModel(upstream), ending, configurations)
        assert holders_of(*halves), "the provider is in this process, and remembers"
        provider.calls.clear()
    try:  # only the provider is gone: our own side, its open connections included, is as it was
        assert configurations.names() == []
        assert holders_of(*halves) == []
    finally:
        await upstream.close()


async def take_part(
    stage: Stage, model: ChatModel, ending: str, configurations: Configurations
) -> None:
    loop = stage.loop(model)
    if ending == "error":
        with pytest.raises(ProviderRejected):
            await play(loop, stage.world.acme, asking())
        return
    async with aclosing(loop.run(stage.world.acme, asking())) as events:
        await anext(events)
        assert configurations.names(), "while the turn is open, they are there"
        if ending == "answer":
            assert isinstance([event async for event in events][-1], Answer)


@pytest.mark.req("CTX-1")
async def test_nothing_of_a_turn_is_reachable_while_its_answer_is_being_read(
    world: World, stage: Stage, model: ChatModel
) -> None:
    configurations = Configurations()
    async with aclosing(stage.loop(model).run(world.acme, asking())) as events:
        async for event in events:
            if isinstance(event, Answer):
                # The session is closed, though the generator is not.
                assert configurations.names() == []
