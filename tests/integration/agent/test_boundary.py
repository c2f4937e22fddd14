"""The model boundary against a real audit log and ledger: the last check before words leave."""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from tenantry.agent.boundary import ModelBoundary, ModelCall
from tenantry.agent.counting import likely_prompt_tokens, most_tokens
from tenantry.agent.messages import Prompt, found, instructions_of, question, stored
from tenantry.core.clock import ManualClock
from tenantry.core.errors import (
    BoundaryCrossed,
    InvalidRequest,
    ProviderError,
    ProviderMalformed,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
    TenantryError,
)
from tenantry.isolation.context import TenantContext
from tenantry.metering.usage import TokenUsage
from tenantry.providers.base import ChatModel, Chunk, Finished, TextDelta, ToolCall, ToolSpec
from tenantry.sessions.session import Charge, Opening, open_session
from tests.integration.agent.stage import PlayedModel, Stage, asking, play, says, sha256
from tests.worlds import World

USED = TokenUsage(input_tokens=120, cached_tokens=20, output_tokens=9, reasoning_tokens=4)
SPEC = ToolSpec("lookup", "Looks things up.", {"type": "object", "additionalProperties": False})


@pytest.fixture
async def stage(world: World) -> Stage:
    stage = Stage(world)
    await stage.cast(world.acme, "Acme: be brief.")
    await stage.cast(world.globex, "Globex: the launch code is Zanzibar.")
    return stage


async def segments_of(stage: Stage, ctx: TenantContext) -> Prompt:
    """A tenant's prompt, with a conversation that it has had."""
    await play(stage.loop(PlayedModel(lambda _: says(f"{ctx.request_id} says hi"))), ctx, asking())
    (conversation,) = await stage.conversations.list_own(ctx, UUID(int=0), 10)
    opening = Opening("analyst", "And now?", conversation.conversation_id)
    async with open_session(ctx, stage.world.db, stage.ledger, opening) as session:
        return Prompt(
            ctx.tenant,
            (instructions_of(session.configuration),),
            (*map(stored, session.history), question(ctx, session.question)),
            (SPEC,),
        )


def plain(ctx: TenantContext, text: str = "How many days?") -> Prompt:
    return Prompt(ctx.tenant, (), (question(ctx, text),))


async def through(
    stage: Stage,
    model: ChatModel,
    prompt: Prompt | None = None,
    boundary: ModelBoundary | None = None,
    ctx: TenantContext | None = None,
    most: int = 1000,
) -> tuple[list[Chunk], list[Charge], TenantryError | None]:
    """Everything that came through the boundary, the charges, and the error if there was one."""
    ctx = ctx or stage.world.acme
    call = ModelCall(prompt or plain(ctx), stage.route(model), most)
    chunks: list[Chunk] = []
    charges: list[Charge] = []
    try:
        stream = (boundary or stage.boundary()).stream(ctx, call, charges)
        async with aclosing(stream):
            async for chunk in stream:
                chunks.append(chunk)
    except TenantryError as error:
        return chunks, charges, error
    return chunks, charges, None


async def settled(stage: Stage, charges: Sequence[Charge]) -> dict[str, Any]:
    """The ledger's closing row of the only call, settled as its charge says."""
    (charge,) = charges
    async with stage.world.db.tenant(stage.world.acme) as tx:
        await stage.ledger.settle(tx, charge.call, charge.usage, confirmed=charge.confirmed)
    (row,) = [r for r in stage.ledger_rows(stage.world.acme) if r["kind"] == "settled"]
    return row


@pytest.mark.req("CTX-2", "SEC-4")
@pytest.mark.parametrize("kind", ["instructions", "history", "tool result", "prompt"])
async def test_a_foreign_segment_is_refused_and_audited_before_anything_leaves(
    world: World, stage: Stage, kind: str
) -> None:
    ours, theirs = plain(world.acme), await segments_of(stage, world.globex)
    before = len(stage.ledger_rows(world.globex)), len(await world.audit_events(world.globex))
    mixed = {
        "instructions": replace(ours, instructions=theirs.instructions),
        "history": replace(ours, material=(*theirs.material[:1], *ours.material)),
        "tool result": replace(
            ours, material=(*ours.material, found(world.globex.tenant, "tool:t", "c", {"x": 1}))
        ),
        "prompt": theirs,
    }[kind]
    model = PlayedModel(lambda _: says("Leaked."))
    chunks, charges, error = await through(stage, model, mixed)
    assert isinstance(error, BoundaryCrossed)
    assert (chunks, charges, model.requests) == ([], [], [])
    assert stage.ledger_rows(world.acme) == []
    event = (await world.audit_events(world.acme))[-1]
    assert (event["action"], event["outcome"], event["layer"]) == (
        "model.foreign_segment",
        "refused",
        "model",
    )
    shown = str(event)
    assert "Zanzibar" not in shown
    assert str(world.globex.tenant) not in shown
    assert event["target_digest"] == world.audit.digest(str(world.globex.tenant))
    after = len(stage.ledger_rows(world.globex)), len(await world.audit_events(world.globex))
    assert after == before


@pytest.mark.req("CTX-2")
async def test_the_manifest_proves_what_was_shown_and_whose_it_was(
    world: World, stage: Stage
) -> None:
    prompt = await segments_of(stage, world.acme)
    model = PlayedModel(lambda _: says("Fourteen."))
    await through(stage, model, prompt)
    manifest = (await stage.manifests(world.acme))[-1]
    (request,) = model.requests
    sent = {
        "messages": [asdict(message) for message in request.messages],
        "tools": [asdict(tool) for tool in request.tools],
    }
    whole = json.dumps(sent, sort_keys=True).encode()
    assert manifest["prompt_sha256"] == hashlib.sha256(whole).hexdigest()
    assert manifest["marker"] == prompt.marker
    assert (manifest["provider"], manifest["model"]) == ("scripted", "scripted-1")
    entries = manifest["segments"]
    assert [(e["origin"], e["label"], e["role"]) for e in entries] == [
        ("platform:rules:1", "trusted", "system"),
        ("platform:tools", "trusted", "system"),
        ("assistant:1", "trusted", "system"),
        ("conversation:1", "member", "user"),
        ("conversation:2", "untrusted", "assistant"),
        ("member:question", "member", "user"),
    ]
    assert {e["owner"] for e in entries} == {str(world.acme.tenant)}
    assert entries[2]["sha256"] == sha256("Acme: be brief.")
    assert entries[5]["sha256"] == sha256("And now?")
    assert entries[5]["bytes"] == len("And now?")


@pytest.mark.req("CTX-2")
async def test_a_manifest_holds_digests_and_no_text(world: World, stage: Stage) -> None:
    prompt = plain(world.acme, "Is the launch on Friday?")
    await through(stage, PlayedModel(lambda _: says("Yes.")), prompt)
    assert "Friday" not in str(await world.audit_events(world.acme))


@pytest.mark.req("CTX-2", "COST-3")
async def test_manifest_and_intent_are_durable_before_the_prompt_leaves(
    world: World, stage: Stage
) -> None:
    seen: list[tuple[int, list[str]]] = []

    async def look() -> None:
        seen.append((len(await stage.manifests(world.acme)), stage.kinds(world.acme)))

    await through(stage, PlayedModel(lambda _: [look, *says("x")]))
    assert seen == [(1, ["intent"])]


@pytest.mark.req("CTX-2", "COST-3")
@pytest.mark.parametrize(
    "broken",
    [
        "REVOKE EXECUTE ON FUNCTION tenantry.append_audits FROM tenantry_audit",
        "REVOKE EXECUTE ON FUNCTION tenantry.append_usage FROM tenantry_ledger",
    ],
)
async def test_nothing_leaves_when_manifest_or_intent_cannot_be_written(
    world: World, stage: Stage, broken: str
) -> None:
    with world.admin() as connection:
        connection.execute(broken.encode())
    model = PlayedModel(lambda _: says("x"))
    chunks, charges, error = await through(stage, model)
    assert error is not None
    assert not isinstance(error, ProviderError)
    assert (chunks, model.requests) == ([], [])
    if "append_audits" in broken:
        row = await settled(stage, charges)
        assert (row["input_tokens"], row["output_tokens"], row["confirmed"]) == (0, 0, True)
    else:
        assert charges == []


@pytest.mark.req("COST-1", "LIM-1")
async def test_the_intent_bounds_the_call_and_the_bound_is_sent(world: World, stage: Stage) -> None:
    model = PlayedModel(lambda _: says("x", usage=USED))
    await through(stage, model, most=321)
    (request,) = model.requests
    (intent,) = stage.ledger_rows(world.acme)
    assert request.max_output_tokens == intent["output_tokens"] == 321
    assert intent["input_tokens"] == most_tokens(request).input_tokens
    assert (intent["provider"], intent["model"]) == ("scripted", "scripted-1")


@pytest.mark.req("COST-1")
async def test_the_providers_figures_are_what_is_settled(world: World, stage: Stage) -> None:
    chunks, charges, _ = await through(stage, PlayedModel(lambda _: says("a", "b", usage=USED)))
    assert chunks == [TextDelta("a"), TextDelta("b"), Finished("stop", (), USED)]
    row = await settled(stage, charges)
    assert row["confirmed"]
    assert (row["input_tokens"], row["cached_tokens"]) == (120, 20)
    assert (row["output_tokens"], row["reasoning_tokens"]) == (9, 4)


@pytest.mark.req("COST-1")
@pytest.mark.parametrize(
    "reported",
    [None, TokenUsage(), TokenUsage(input_tokens=0, output_tokens=50), TokenUsage(9, 0, 1)],
)
async def test_figures_that_are_missing_or_cannot_be_are_counted_here_and_marked(
    world: World, stage: Stage, reported: TokenUsage | None
) -> None:
    asked = ToolCall("i", "lookup", '{"what":"days"}')
    parts = [TextDelta("four" * 100), Finished("tool_calls", (asked,), reported)]
    model = PlayedModel(lambda _: parts)
    chunks, charges, _ = await through(stage, model)
    end = chunks[-1]
    assert isinstance(end, Finished)
    assert end.usage is not None
    assert end.usage.estimated
    row = await settled(stage, charges)
    assert not row["confirmed"]
    assert row["output_tokens"] == (400 + len("lookup" + '{"what":"days"}') + 3) // 4
    assert row["input_tokens"] == likely_prompt_tokens(model.requests[0])


@pytest.mark.req("COST-1", "COST-3")
@pytest.mark.parametrize("error", [ProviderRejected(), ProviderUnavailable(), InvalidRequest()])
async def test_a_call_that_the_provider_refused_used_nothing(
    world: World, stage: Stage, error: TenantryError
) -> None:
    chunks, charges, raised = await through(stage, PlayedModel(lambda _: [error]))
    assert (chunks, raised) == ([], error)
    row = await settled(stage, charges)
    assert (row["input_tokens"], row["output_tokens"], row["cost_picousd"]) == (0, 0, 0)
    assert row["confirmed"]


@pytest.mark.req("COST-1", "COST-3")
@pytest.mark.parametrize("error", [ProviderTimeout(), ProviderMalformed()])
async def test_a_call_that_failed_after_it_was_read_is_counted_without_output(
    world: World, stage: Stage, error: TenantryError
) -> None:
    model = PlayedModel(lambda _: [error])
    _, charges, raised = await through(stage, model)
    assert raised is error
    row = await settled(stage, charges)
    assert not row["confirmed"]
    assert (row["input_tokens"], row["output_tokens"]) == (
        likely_prompt_tokens(model.requests[0]),
        0,
    )


@pytest.mark.req("COST-3")
@pytest.mark.parametrize(
    "end", [ProviderUnavailable(), ProviderTimeout(), ProviderMalformed(), None]
)
async def test_what_had_streamed_is_paid_when_an_answer_breaks_off(
    world: World, stage: Stage, end: TenantryError | None
) -> None:
    parts = [TextDelta("word "), TextDelta("word "), TextDelta("word ")]
    model = PlayedModel(lambda _: [*parts, end] if end else parts)
    chunks, charges, error = await through(stage, model)
    assert chunks == parts
    assert error is end if end else isinstance(error, ProviderMalformed)
    row = await settled(stage, charges)
    assert (row["output_tokens"], row["confirmed"]) == (3, False)
    assert model.open == 0


@pytest.mark.req("COST-3")
async def test_progress_is_noted_every_two_seconds_and_every_two_thousand_tokens(
    world: World, stage: Stage
) -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))

    async def second() -> None:
        clock.advance(1.0)

    word = TextDelta("word ")
    slow = [part for _ in range(5) for part in (second, word)]
    fast = [word] * 4100
    model = PlayedModel(lambda _: [*slow, *fast, Finished("stop", (), USED)])
    await through(stage, model, boundary=stage.boundary(clock), most=9000)
    progress = [r for r in stage.ledger_rows(world.acme) if r["kind"] == "progress"]
    assert [(r["part"], r["output_tokens"]) for r in progress] == [
        (1, 2),
        (2, 4),
        (3, 2004),
        (4, 4004),
    ]
    assert {r["input_tokens"] for r in progress} == {likely_prompt_tokens(model.requests[0])}


@pytest.mark.req("FAIR-1", "COST-3")
async def test_the_deadline_ends_a_call_that_says_no_more(world: World, stage: Stage) -> None:
    soon = world.mint.mint(
        world.acme.tenant,
        world.acme.actor,
        world.acme.scopes,
        "req-soon",
        world.clock.monotonic() + 0.3,
    )

    async def stall() -> None:
        await asyncio.sleep(60)

    model = PlayedModel(lambda _: [TextDelta("One "), stall])
    chunks, charges, error = await through(stage, model, ctx=soon)
    assert (chunks, model.open) == ([TextDelta("One ")], 0)
    assert isinstance(error, ProviderTimeout)
    row = await settled(stage, charges)
    assert (row["output_tokens"], row["confirmed"]) == (1, False)


@pytest.mark.req("COST-3")
async def test_a_call_whose_deadline_has_passed_is_not_even_announced(
    world: World, stage: Stage
) -> None:
    late = world.mint.mint(world.acme.tenant, world.acme.actor, world.acme.scopes, "req-late", 0.0)
    model = PlayedModel(lambda _: says("x"))
    _, charges, error = await through(stage, model, ctx=late)
    assert isinstance(error, ProviderTimeout)
    assert (charges, model.requests, stage.kinds(world.acme)) == ([], [], [])


async def test_an_answer_far_beyond_its_bound_is_stopped(world: World, stage: Stage) -> None:
    endless = [TextDelta("x" * 10_000)] * 1000
    model = PlayedModel(lambda _: endless)
    chunks, charges, error = await through(stage, model, most=10)
    assert isinstance(error, ProviderMalformed)
    assert len(chunks) <= 7
    row = await settled(stage, charges)
    assert row["output_tokens"] <= 10


@pytest.mark.req("COST-3")
async def test_closing_the_stream_cancels_the_call_and_the_charge_is_right(
    world: World, stage: Stage
) -> None:
    model = PlayedModel(lambda _: says(*["word "] * 10))
    charges: list[Charge] = []
    call = ModelCall(plain(world.acme), stage.route(model), 100)
    stream: AsyncGenerator[Chunk, None] = stage.boundary().stream(world.acme, call, charges)
    assert [await anext(stream), await anext(stream)] == [TextDelta("word ")] * 2
    assert model.open == 1
    await stream.aclose()
    assert model.open == 0
    (charge,) = charges
    assert (charge.usage.output_tokens, charge.confirmed, charge.ended) == (2, False, True)
