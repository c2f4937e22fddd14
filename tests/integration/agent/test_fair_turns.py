"""Turns at the gate: slots are given back however a call ends, and none is held while tools run."""

import asyncio
from contextlib import aclosing

import pytest

from tenantry.admission import Admission, Ask
from tenantry.agent.events import Answer, ToolFinished, ToolStarted
from tenantry.core.errors import CredentialRefused, ProviderUnavailable, QueueFull
from tenantry.fairness.accounts import AccountTerms
from tenantry.fairness.concurrency import Bounds
from tenantry.fairness.scheduler import Scheduler
from tenantry.isolation.context import TenantContext
from tenantry.metering.ledger import CallIntent
from tenantry.metering.usage import TokenUsage
from tenantry.providers.base import TextDelta, UpstreamAccount
from tests.integration.agent.stage import Stage, asking, calls, says
from tests.integration.agent.test_tools_in_turns import Bench, look, playing
from tests.worlds import World

ACCOUNT = UpstreamAccount("scripted")
BOUND = TokenUsage(100, 0, 100)


def _ask() -> Ask:
    return Ask(ACCOUNT, CallIntent("chat", "scripted", "scripted-1", BOUND))


@pytest.fixture
def stage(world: World) -> Stage:
    """A stage whose account bears one call at once, and lets one of a tenant wait."""
    stage = Stage(world)
    terms = {"scripted": AccountTerms(Bounds(1, 1, 1), queue=1)}
    stage.gate = stage.admission(world.clock, terms)
    return stage


def _gate(stage: Stage) -> tuple[Admission, Scheduler]:
    assert stage.gate is not None
    return stage.gate, stage.gate.capacity.of(ACCOUNT).scheduler


async def _made(gate: Admission, ctx: TenantContext, error: BaseException | None = None) -> None:
    async with gate.admit(ctx, _ask()) as ticket:
        await ticket.turn()
        ticket.used(TokenUsage(10, 0, 5))
        if error is not None:
            raise error


@pytest.mark.req("FAIR-1", "FAIR-2")
async def test_a_slot_is_given_back_and_settled_however_a_call_ends(
    world: World, stage: Stage
) -> None:
    gate, slots = _gate(stage)
    await _made(gate, world.acme)
    for error in (ValueError(), ProviderUnavailable(), asyncio.CancelledError()):
        with pytest.raises(type(error)):
            await _made(gate, world.acme, error)
    async with gate.admit(world.acme, _ask()):
        pass  # it never left: nothing was used
    place = slots.find(world.acme.tenant)
    assert place is not None
    assert (slots.running, slots.waiting, place.served) == (0, 0, 4 * (10 + 4 * 5))


@pytest.mark.req("FAIR-1", "LIM-1")
async def test_a_refused_call_takes_no_place_and_a_cancelled_one_leaves_none(
    world: World, stage: Stage
) -> None:
    gate, slots = _gate(stage)
    async with gate.admit(world.acme, _ask()) as first:
        await first.turn()
        waiting = asyncio.create_task(_made(gate, world.acme))
        for _ in range(10_000):
            if slots.waiting:  # reserving its budget takes a moment
                break
            await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await gate.enter(world.acme, _ask())
        waiting.cancel()
        await asyncio.wait({waiting})
        assert (slots.running, slots.waiting) == (1, 0)
    assert (slots.running, slots.active) == (0, 0)


@pytest.mark.req("FAIR-2", "SEC-4")
async def test_a_refused_credential_is_told_to_the_tenant_once_and_held_back(
    world: World, stage: Stage
) -> None:
    gate, slots = _gate(stage)
    with pytest.raises(CredentialRefused):
        await _made(gate, world.acme, CredentialRefused())
    with pytest.raises(CredentialRefused, match="Replace it"):
        await gate.enter(world.acme, _ask())
    assert slots.active == 0
    await _made(gate, world.globex)  # the neighbour is not concerned
    told = [e["action"] for e in await world.audit_events(world.acme)]
    assert told.count("provider.credential_refused") == 1
    assert "provider.credential_refused" not in [
        e["action"] for e in await world.audit_events(world.globex)
    ]


@pytest.mark.req("FAIR-1")
async def test_no_slot_is_held_while_tools_run(world: World, stage: Stage) -> None:
    await stage.cast(world.acme, "Acme: be brief.", tools=["lookup"])
    _, slots = _gate(stage)
    model = playing(calls(look("refunds"), text="Let me see."), says("Fourteen days."))
    held = []
    async with aclosing(stage.loop(model, Bench(stage)).run(world.acme, asking())) as events:
        async for event in events:
            held.append((type(event), slots.running))
    assert held == [
        (TextDelta, 1), (ToolStarted, 0), (ToolFinished, 0), (TextDelta, 1), (Answer, 0)
    ]  # fmt: skip
