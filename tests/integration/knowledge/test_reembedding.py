"""A tenant changes its embedder: the one before until the switch, the other from then on."""

import asyncio
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tenantry.core.errors import Conflict, InvalidRequest, NotFound, ProviderError
from tenantry.isolation.context import TenantContext
from tenantry.jobs.attempt import AttemptOver
from tenantry.knowledge.reembedding import Wish
from tenantry.security.cursors import START
from tenantry.vectors import versions as store
from tenantry.vectors.shelves import Shelves
from tests.embedders import in_turns
from tests.integration.knowledge.changing import OTHER, THIRD, Changing
from tests.worlds import World

FIRST = "double/words-1"
TOPICS = ("refunds", "baggage", "loyalty", "support", "delivery", "returns", "claims", "fees")


@pytest.fixture
async def changing(world: World) -> Changing:
    """Both tenants with two documents of eight passages, and jobs that store four at a time."""
    made = Changing.over(world)
    for ctx, mark in ((world.acme, "14"), (world.globex, "21")):
        for number in range(2):
            await made.add(ctx, f"{mark}-{number}", TOPICS)
    return made


@pytest.mark.req("VEC-1", "VEC-2", "VEC-3")
async def test_searches_are_by_the_one_before_until_the_switch_and_whole_throughout(
    world: World,
) -> None:
    changing = Changing.over(world, slice_s=0)  # an attempt is one batch
    for ctx in (world.acme, world.globex):
        await changing.add(ctx, "rules", TOPICS)
    standing = await changing.reembedding.choose(world.acme, Wish(OTHER))
    assert (standing.choice.embedder, standing.version) == (FIRST, 1)
    assert standing.coming is not None
    assert standing.coming.choice.embedder == OTHER
    assert standing.job is not None
    seen = [await changing.searched_by(world.acme)]
    while await changing.slice():
        seen.append(await changing.searched_by(world.acme))
        assert await changing.searched_by(world.globex) == FIRST
    assert seen == sorted(seen)  # once entered, it is never left
    assert seen[-1] == OTHER
    assert seen.count(FIRST) >= 3
    assert changing.vectors(world.acme) == {2: 8}
    assert changing.states(world.acme) == {1: "gone", 2: "active"}
    assert changing.vectors(world.globex) == {1: 8}
    actions = [event["action"] for event in await world.audit_events(world.acme)]
    assert [a for a in actions if a.startswith("embedder.")] == [
        "embedder.chosen",
        "embedder.switched",
    ]


@pytest.mark.req("COST-2", "VEC-3")
async def test_what_is_embedded_anew_is_metered_once_and_to_its_tenant(changing: Changing) -> None:
    world = changing.world
    await changing.reembedding.choose(world.acme, Wish(OTHER))
    await changing.work()
    texts = changing.models[OTHER].embedded
    assert len(texts) == 16
    rows = changing.rows(
        "SELECT tenant_id, sum(input_tokens) FROM tenantry.usage_events"
        " WHERE operation = 'embedding' AND model = 'words-2' GROUP BY 1"
    )
    assert rows == [(world.acme.tenant, sum(len(text.split()) for text in texts))]


@pytest.mark.req("VEC-3")
async def test_a_document_that_comes_meanwhile_is_found_by_both(changing: Changing) -> None:
    world = changing.world
    await changing.reembedding.choose(world.acme, Wish(OTHER))
    await changing.add(world.acme, "late", TOPICS[:3])
    assert changing.vectors(world.acme) == {1: 19, 2: 3}
    assert await changing.searched_by(world.acme) == FIRST
    await changing.work()
    assert await changing.searched_by(world.acme) == OTHER
    assert changing.vectors(world.acme) == {2: 19}


@pytest.mark.req("VEC-2", "VEC-3")
async def test_no_version_is_entered_that_lacks_a_document_its_model_did_not_embed(
    changing: Changing, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, model, settle = changing.world, changing.models[OTHER], Shelves.settle
    late: list[str] = []

    async def add_meanwhile(self: Shelves, ctx: TenantContext, version: int, size: int) -> Any:
        if not late:  # all vectors are there: only the switch is left, and the model is away
            late.append("late")
            model.fails_after = 0
            await changing.add(world.acme, "late", TOPICS[:3])
            model.fails_after = None
        return await settle(self, ctx, version, size)

    monkeypatch.setattr(Shelves, "settle", add_meanwhile)
    await changing.reembedding.choose(world.acme, Wish(OTHER))
    await changing.slice()
    assert changing.states(world.acme) == {1: "active", 2: "preparing"}
    assert changing.vectors(world.acme) == {1: 19, 2: 16}
    await changing.work()
    assert await changing.searched_by(world.acme) == OTHER
    assert changing.vectors(world.acme) == {2: 19}


@pytest.mark.req("VEC-3")
async def test_a_model_that_fails_leaves_the_one_before_in_force_and_what_was_made(
    changing: Changing,
) -> None:
    world, model = changing.world, changing.models[OTHER]
    model.fails_after = 2
    await changing.reembedding.choose(world.acme, Wish(OTHER))
    attempt = await changing.begin()
    while attempt is not None and not attempt.job.is_finished:
        with pytest.raises(ProviderError) as failed:
            await changing.reembedding.carry_out(attempt)
        await changing.fail(attempt, failed.value)
        attempt = await changing.again()
    standing = await changing.reembedding.standing(world.acme)
    assert standing.choice.embedder == FIRST
    assert standing.job is not None
    assert (standing.job.state, standing.job.error_code) == ("failed", "provider_unavailable")
    assert (standing.job.steps_done, standing.job.steps_total) == (8, 16)
    assert await changing.searched_by(world.acme) == FIRST
    model.fails_after = None
    await changing.reembedding.choose(world.acme, Wish(OTHER))  # the same wish begins it anew
    await changing.work()
    assert await changing.searched_by(world.acme) == OTHER
    assert len(model.embedded) == 16  # what was made is not made again


@pytest.mark.req("VEC-3", "FAIR-3")
async def test_an_attempt_that_was_thought_dead_writes_nothing_any_more(changing: Changing) -> None:
    world, model = changing.world, changing.models[OTHER]
    await changing.reembedding.choose(world.acme, Wish(OTHER))
    model.gate = asyncio.Event()
    first = await changing.begin()
    assert first is not None
    stopped = asyncio.create_task(changing.reembedding.carry_out(first))
    await model.waiting.wait()
    second = await changing.again()
    assert second is not None
    model.gate.set()
    with pytest.raises(AttemptOver):
        await stopped
    assert changing.vectors(world.acme) == {1: 16}
    await changing.reembedding.carry_out(second)
    assert await changing.searched_by(world.acme) == OTHER


@pytest.mark.req("VEC-3")
async def test_a_change_that_is_given_up_leaves_nothing_of_it(world: World) -> None:
    changing = Changing.over(world, slice_s=0)
    await changing.add(world.acme, "rules", TOPICS)
    await changing.reembedding.choose(world.acme, Wish(OTHER))
    await changing.slice()
    assert changing.vectors(world.acme) == {1: 8, 2: 4}
    await changing.reembedding.cancel(world.acme)
    with pytest.raises(NotFound):
        await changing.reembedding.cancel(world.acme)
    await changing.work()
    assert changing.vectors(world.acme) == {1: 8}
    assert changing.states(world.acme) == {1: "active", 2: "gone"}
    assert await changing.searched_by(world.acme) == FIRST
    await changing.reembedding.choose(world.acme, Wish(OTHER))
    await changing.work()
    assert changing.states(world.acme) == {1: "gone", 2: "gone", 3: "active"}


@pytest.mark.req("VEC-3")
async def test_another_wish_takes_the_place_of_the_one_under_way(world: World) -> None:
    changing = Changing.over(world, slice_s=0)
    await changing.add(world.acme, "rules", TOPICS)
    await changing.reembedding.choose(world.acme, Wish(OTHER))
    await changing.slice()
    await changing.reembedding.choose(world.acme, Wish(THIRD, 24))
    await changing.work()
    assert await changing.searched_by(world.acme) == THIRD
    assert changing.vectors(world.acme) == {3: 8}
    with pytest.raises(InvalidRequest):
        await changing.reembedding.choose(world.acme, Wish(THIRD, 12))
    with pytest.raises(NotFound):
        await changing.reembedding.choose(world.acme, Wish("double/none"))
    assert changing.states(world.acme) == {1: "gone", 2: "gone", 3: "active"}


@pytest.mark.req("VEC-2")
async def test_a_search_that_a_switch_overtakes_is_made_again(changing: Changing) -> None:
    world, model = changing.world, changing.models[FIRST]
    await changing.reembedding.choose(world.acme, Wish(OTHER))
    embed, overtaken = model.embed_query, list[str]()

    async def embed_and_be_overtaken(text: str) -> NDArray[np.float32]:
        vector = await embed(text)
        if not overtaken:  # the question has a vector of a version that is gone a moment later
            overtaken.append(text)
            await changing.work()
        return vector

    model.embed_query = embed_and_be_overtaken  # type: ignore[method-assign]
    found = await changing.found(world.acme, "xyzzy")  # no word of it is anywhere: by meaning alone
    assert overtaken == ["xyzzy"]
    assert changing.states(world.acme) == {1: "gone", 2: "active"}
    assert len(found) == 16


@pytest.mark.req("VEC-1")
async def test_the_index_of_a_large_tenant_is_there_before_the_switch(changing: Changing) -> None:
    world = changing.world
    changing.promote_from(10)
    await changing.shelves.settle(world.acme, 1, 64)
    await changing.reembedding.choose(world.acme, Wish(OTHER))
    shelves = "SELECT version, state, dimension FROM tenantry.vector_shelves ORDER BY 1"
    while changing.states(world.acme)[2] == "preparing":
        before = changing.rows(shelves)
        assert await changing.slice()
    assert changing.rows(shelves)[-1] == (2, "ready", 16)
    assert before[-1][0] in {1, 2}
    assert await changing.searched_by(world.acme) == OTHER
    await changing.shelves.tend_others(world.acme, {2})
    assert [row[0] for row in changing.rows(shelves)] == [2]


@pytest.mark.req("VEC-3")
async def test_a_tenant_without_documents_has_what_it_chose_at_once(changing: Changing) -> None:
    ctx = changing.world.context(changing.world.acme, "owner")
    with changing.world.admin() as admin:
        admin.execute("DELETE FROM tenantry.documents WHERE tenant_id = %s", [ctx.tenant])
        admin.execute("DELETE FROM tenantry.vector_versions WHERE tenant_id = %s", [ctx.tenant])
    standing = await changing.reembedding.choose(ctx, Wish(OTHER))
    assert (standing.choice.embedder, standing.coming) == (OTHER, None)
    await changing.add(ctx, "rules", TOPICS[:2])
    assert await changing.searched_by(ctx) == OTHER


@pytest.mark.req("VEC-3")
async def test_a_tenant_that_chose_nothing_follows_the_deployment(changing: Changing) -> None:
    world = changing.world
    changing.embedders.default = in_turns(changing.models[THIRD], world.clock)
    await changing.reembedding.follow(world.acme)
    await changing.reembedding.choose(world.globex, Wish(FIRST))  # it wants to stay
    await changing.reembedding.follow(world.globex)
    assert await changing.searched_by(world.acme) == FIRST
    await changing.work()
    assert await changing.searched_by(world.acme) == THIRD
    assert await changing.searched_by(world.globex) == FIRST


@pytest.mark.req("VEC-3")
async def test_a_change_whose_job_is_gone_is_given_up(changing: Changing) -> None:
    world = changing.world
    standing = await changing.reembedding.choose(world.acme, Wish(OTHER))
    assert standing.job is not None
    await changing.jobs.discard(world.acme, standing.job.job_id)
    await changing.reembedding.follow(world.acme)
    await changing.work()
    assert changing.states(world.acme) == {1: "active", 2: "gone"}


@pytest.mark.req("VEC-2", "SEC-4")
async def test_a_neighbours_vectors_cannot_be_switched_or_removed(changing: Changing) -> None:
    world = changing.world
    await changing.reembedding.choose(world.globex, Wish(OTHER))
    async with world.db.tenant(world.acme) as tx:
        assert await store.lacking(tx, 2, START, 100) != []  # its own, which know no version 2
        with pytest.raises(Conflict):
            await store.switch(tx, 2)
    async with world.db.tenant(world.acme) as tx:
        assert not await store.give_up(tx, 2)
        await store.remove_vectors(tx, 2, START)
    assert changing.states(world.globex) == {1: "active", 2: "preparing"}
    assert changing.vectors(world.globex) == {1: 16}
