"""A member who leaves at any moment: the conversation stays whole, every call is closed once."""

import asyncio
import random
from collections import Counter
from contextlib import aclosing, suppress

import pytest

from tenantry.providers.base import TextDelta
from tests.integration.agent.stage import QUESTION, PlayedModel, Stage, asking, play, says
from tests.worlds import World

WORDS = ["one ", "two ", "three ", "four ", "five "]


@pytest.fixture
async def stage(world: World) -> Stage:
    stage = Stage(world)
    await stage.cast(world.acme, "Acme: be brief.")
    await stage.cast(world.globex, "Globex: be long.")
    await play(stage.loop(PlayedModel(lambda _: says("Theirs."))), world.globex, asking())
    return stage


async def whole(stage: Stage, world: World) -> list[tuple[str, str, str]]:
    """The messages, after checking what must hold however a turn ended."""
    rows = stage.ledger_rows(world.acme)
    kinds = Counter((row["call_id"], row["kind"]) for row in rows if row["kind"] != "progress")
    opened = {row["call_id"] for row in rows if row["kind"] == "intent"}
    assert kinds == Counter({(call, kind): 1 for call in opened for kind in ("intent", "settled")})
    messages = await stage.messages(world.acme)
    assert [role for role, _, _ in messages] == ["user", "assistant"] * (len(messages) // 2)
    assert len(await stage.messages(world.globex)) == 2
    return messages


@pytest.mark.req("COST-3", "SCALE-2")
@pytest.mark.parametrize("read", range(len(WORDS) + 1))
async def test_closing_after_any_event_keeps_what_was_read(
    world: World, stage: Stage, read: int
) -> None:
    model = PlayedModel(lambda _: says(*WORDS))
    async with aclosing(stage.loop(model).run(world.acme, asking())) as events:
        for _ in range(read):
            await anext(events)
    if read == 0:  # the generator never ran: nothing was opened
        assert await whole(stage, world) == []
        return
    assert model.open == 0
    assert await whole(stage, world) == [
        ("user", QUESTION, "complete"),
        ("assistant", "".join(WORDS[:read]), "cut"),
    ]
    settled = stage.ledger_rows(world.acme)[-1]
    assert (settled["output_tokens"], settled["confirmed"]) == (read, False)


@pytest.mark.req("COST-3", "SCALE-2")
@pytest.mark.parametrize("produced", range(len(WORDS) + 1))
async def test_cancelling_while_the_model_works_keeps_what_it_had_said(
    world: World, stage: Stage, produced: int
) -> None:
    reached = asyncio.Event()

    async def hang() -> None:
        reached.set()
        await asyncio.sleep(60)

    chunks = [TextDelta(word) for word in WORDS]
    model = PlayedModel(lambda _: [*chunks[:produced], hang])
    task = asyncio.create_task(play(stage.loop(model), world.acme, asking()))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert model.open == 0
    assert await whole(stage, world) == [
        ("user", QUESTION, "complete"),
        ("assistant", "".join(WORDS[:produced]), "cut"),
    ]


@pytest.mark.req("COST-3", "SCALE-2")
async def test_cancelling_at_random_moments_never_leaves_anything_half_done(
    world: World, stage: Stage
) -> None:
    chance = random.Random(20260529)
    ended: Counter[str] = Counter()

    async def breathe() -> None:
        await asyncio.sleep(0.001)

    parts = [part for word in WORDS for part in (breathe, TextDelta(word))]
    began = world.clock.monotonic()
    await play(stage.loop(PlayedModel(lambda _: [*parts, *says("six")])), world.acme, asking())
    whole_turn_s = world.clock.monotonic() - began
    for _ in range(60):
        model = PlayedModel(lambda _: [*parts, *says("six")])
        task = asyncio.create_task(play(stage.loop(model), world.acme, asking()))
        await asyncio.sleep(chance.random() * whole_turn_s)
        for _ in range(chance.randint(1, 3)):
            task.cancel()
            await asyncio.sleep(chance.choice([0, 0.001]))
        with suppress(asyncio.CancelledError):
            await task
        assert model.open == 0
        ended["cancelled" if task.cancelled() else "finished"] += 1
    messages = await whole(stage, world)
    ended.update(status for role, _, status in messages if role == "assistant")
    text = "".join(WORDS) + "six"
    assert all(text.startswith(said) for role, said, _ in messages if role == "assistant")
    assert ended["cancelled"] > 10, ended
    assert ended["cut"] > 0, ended


@pytest.mark.req("COST-3")
async def test_a_turn_nobody_reads_to_its_end_is_closed_when_it_is_forgotten(
    world: World, stage: Stage
) -> None:
    model = PlayedModel(lambda _: says(*WORDS))
    events = stage.loop(model).run(world.acme, asking())
    await anext(events)
    del events  # the event loop closes a generator that nobody holds
    for _ in range(200):
        await asyncio.sleep(0.01)
        if len(stage.kinds(world.acme)) == 2:
            break
    assert await whole(stage, world) == [
        ("user", QUESTION, "complete"),
        ("assistant", "one ", "cut"),
    ]
