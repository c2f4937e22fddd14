"""Whatever happens to calls, in whatever order: each ends once, and totals are what was used.

A model of the ledger in a few lines of Python runs beside the real one on a real database. The
steps are everything that can happen to a call: progress, a settle with the provider's figures or
an own count, the same again, the process's death and the sweep, an export that corrects it.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantry.core.errors import BoundaryCrossed
from tenantry.isolation.context import TenantContext
from tenantry.metering.ledger import CallIntent, Ledger, OpenCall
from tenantry.metering.reconcile import ProviderEntry, Reconciler
from tenantry.metering.reports import Sums, UsageReports, tenant_totals
from tenantry.metering.sweeper import Sweeper
from tenantry.metering.usage import TokenUsage
from tests.integration.metering.books import BOOK, BOUND, all_time, price_book, rows, settle
from tests.worlds import World

ALIVE, GONE = 0, 4711  # without a lease only expiry counts; nobody holds the lock 4711

Action = Literal["progress", "settle", "estimate", "sweep", "reconcile", "steal"]
COUNT = st.integers(0, 1500)
USAGE = st.builds(TokenUsage, COUNT, COUNT, COUNT, COUNT).map(TokenUsage.plausible)
ACTIONS: list[Action] = ["progress", "settle", "estimate", "sweep", "reconcile", "steal"]
MODELS = ["gpt-5-mini", "unheard-of"]


@dataclass(frozen=True)
class Step:
    call: int
    action: Action
    usage: TokenUsage
    repeat: bool


@dataclass(frozen=True)
class Plan:
    """Which calls there are (tenant, whether their process is gone, model), and what happens."""

    calls: list[tuple[int, bool, str]]
    steps: list[Step]


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    call = st.tuples(st.integers(0, 1), st.booleans(), st.sampled_from(MODELS))
    calls = draw(st.lists(call, min_size=1, max_size=5))
    step = st.builds(
        Step,
        st.integers(0, len(calls) - 1),
        st.sampled_from(ACTIONS),
        USAGE.map(lambda usage: replace(usage, estimated=False)),
        st.booleans(),
    )
    return Plan(calls, draw(st.lists(step, max_size=14)))


def price(model: str, usage: TokenUsage) -> int:
    """What a call costs, worked out here a second time."""
    if model != "gpt-5-mini":
        return 0
    fresh = usage.input_tokens - usage.cached_tokens
    return fresh * 250_000 + usage.cached_tokens * 25_000 + usage.output_tokens * 2_000_000


@dataclass
class Expected:
    """The model of one call."""

    tenant: int
    gone: bool
    model: str
    shown: TokenUsage = field(default_factory=lambda: TokenUsage(BOUND.input_tokens))
    figures: TokenUsage | None = None
    confirmed: bool = False

    def close(self, usage: TokenUsage, *, confirmed: bool) -> None:
        if self.figures is None or (confirmed and not self.confirmed):
            self.figures, self.confirmed = usage, confirmed

    def take(self, action: Action, usage: TokenUsage) -> None:
        if action == "progress":
            self.shown = usage.bounded(BOUND)
        elif action == "settle":
            self.close(usage, confirmed=True)
        elif action == "estimate":
            self.close(usage.bounded(BOUND), confirmed=False)
        elif action == "reconcile" and self.figures is not None:
            self.figures, self.confirmed = usage, True


class Run:
    """One plan, on the real ledger and on the model."""

    def __init__(self, world: World) -> None:
        prices = price_book(world)
        self.world = world
        self.contexts = (world.acme, world.globex)
        self.ledgers = {
            gone: Ledger(
                world.db, world.writer, prices, world.clock, instance=GONE if gone else ALIVE
            )
            for gone in (True, False)
        }
        self.reconciler = Reconciler(world.db, world.operator_db, prices)
        self.calls: list[OpenCall] = []
        self.expected: list[Expected] = []

    async def open(self, plan: Plan) -> None:
        with self.world.admin() as connection:
            connection.execute("TRUNCATE tenantry.usage_events")
        for tenant, gone, model in plan.calls:
            intent = CallIntent("chat", "openai", model, BOUND)
            call = await self.ledgers[gone].open(self.contexts[tenant], intent)
            self.calls.append(call)
            self.expected.append(Expected(tenant, gone, model))

    async def take(self, step: Step) -> None:
        if step.action == "sweep":
            await Sweeper(self.world.operator_db).sweep()
            for each in self.expected:
                if each.gone:
                    each.close(each.shown, confirmed=False)
            return
        self.expected[step.call].take(step.action, step.usage)
        await self.on_call(step)

    async def on_call(self, step: Step) -> None:
        call, expected = self.calls[step.call], self.expected[step.call]
        ctx, ledger = self.contexts[expected.tenant], self.ledgers[expected.gone]
        if step.action == "progress":
            await ledger.progress(ctx, call, step.usage)
        elif step.action == "steal":
            thief = self.contexts[1 - expected.tenant]
            with pytest.raises(BoundaryCrossed):
                await settle(self.world, ledger, thief, call, step.usage)
            await self.reconcile(thief, call, step.usage)
        elif step.action == "reconcile":
            await self.reconcile(ctx, call, step.usage)
        else:
            confirmed = step.action == "settle"
            cost = await settle(self.world, ledger, ctx, call, step.usage, confirmed=confirmed)
            assert expected.figures is not None
            assert cost == price(expected.model, expected.figures)

    async def reconcile(self, ctx: TenantContext, call: OpenCall, usage: TokenUsage) -> None:
        await self.reconciler.apply(ctx, [ProviderEntry(2, str(call.call_id), usage)])

    def of(self, tenant: int) -> Iterator[Expected]:
        return (e for e in self.expected if e.tenant == tenant and e.figures is not None)


def modelled(calls: Iterator[Expected]) -> Sums:
    total = Sums()
    for call in calls:
        usage = call.figures or TokenUsage()
        cost = price(call.model, usage)
        total += Sums(
            calls=1,
            input_tokens=usage.input_tokens,
            cached_tokens=usage.cached_tokens,
            output_tokens=usage.output_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            cost_picousd=cost,
            unconfirmed_calls=0 if call.confirmed else 1,
            unconfirmed_picousd=0 if call.confirmed else cost,
            unpriced_calls=1 if call.model == "unheard-of" else 0,
        )
    return total


def added(events: list[dict[str, Any]]) -> Sums:
    """The same sums, from the rows as a superuser sees them."""
    billed = [e for e in events if e["kind"] not in ("intent", "progress")]
    total = Sums()
    for e in billed:
        total += Sums(
            calls=e["calls"],
            input_tokens=e["input_tokens"],
            cached_tokens=e["cached_tokens"],
            output_tokens=e["output_tokens"],
            reasoning_tokens=e["reasoning_tokens"],
            cost_picousd=e["cost_picousd"],
            unconfirmed_calls=0 if e["confirmed"] else e["calls"],
            unconfirmed_picousd=0 if e["confirmed"] else e["cost_picousd"],
            unpriced_calls=0 if e["priced"] else e["calls"],
        )
    return total


def closings(events: list[dict[str, Any]]) -> dict[UUID, int]:
    found: dict[UUID, int] = {}
    for e in events:
        if e["kind"] in ("settled", "swept", "recorded"):
            found[e["call_id"]] = found.get(e["call_id"], 0) + 1
    return found


@pytest.mark.req("COST-1", "COST-3")
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(plan=plans())
async def test_totals_are_the_sum_of_events_are_what_was_used_and_stay_in_their_tenant(
    world: World, plan: Plan
) -> None:
    run = Run(world)
    await run.open(plan)
    for step in plan.steps:
        await run.take(step)
        if step.repeat:
            await run.take(step)
    reports = UsageReports(world.db)
    across = await tenant_totals(world.operator_db, all_time())
    for tenant, ctx in enumerate(run.contexts):
        events = rows(world, ctx)
        totals = await reports.totals(ctx, all_time())
        shown = replace(totals.sums, duration_ms=0)
        assert shown == added(events) == modelled(run.of(tenant))
        assert across.get(ctx.tenant, Sums()) == totals.sums
        own = {
            c.call_id for c, e in zip(run.calls, run.expected, strict=True) if e.tenant == tenant
        }
        ended = {
            c.call_id
            for c, e in zip(run.calls, run.expected, strict=True)
            if e.tenant == tenant and e.figures is not None
        }
        assert {e["call_id"] for e in events} == own
        assert closings(events) == dict.fromkeys(ended, 1)
        assert totals.reserved_calls == len(own - ended)


CLOSERS: list[Action] = ["settle", "estimate", "sweep"]


@pytest.mark.req("COST-3")
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    at_once=st.lists(st.sampled_from(CLOSERS), min_size=2, max_size=5),
    corrected=st.booleans(),
)
async def test_whoever_closes_a_call_at_the_same_moment_it_is_closed_once(
    world: World, at_once: list[Action], corrected: bool
) -> None:
    run = Run(world)
    await run.open(Plan([(0, True, "gpt-5-mini"), (1, True, "gpt-5-mini")], []))
    provider, own = TokenUsage(120, 20, 300, 40), TokenUsage(100, 0, 250)

    async def close(action: Action) -> None:
        if action == "sweep":
            await Sweeper(world.operator_db).sweep()
        else:
            usage = provider if action == "settle" else own
            ledger, call = run.ledgers[True], run.calls[0]
            await settle(world, ledger, world.acme, call, usage, confirmed=action == "settle")

    tasks = [close(action) for action in at_once]
    if corrected:
        tasks.append(run.reconcile(world.acme, run.calls[0], provider))
    await asyncio.gather(*tasks)
    events = rows(world, world.acme)
    assert closings(events) == {run.calls[0].call_id: 1}
    sums = added(events)
    assert sums.calls == 1
    if "settle" in at_once:
        assert sums.unconfirmed_calls == 0
        assert sums.cost_picousd == price("gpt-5-mini", provider)
        assert sums.output_tokens == 300
    assert "settled" not in [r["kind"] for r in rows(world, world.globex)]


@pytest.mark.req("COST-3")
@given(usage=USAGE)
def test_money_is_never_a_float(usage: TokenUsage) -> None:
    rates = BOOK.rates["openai", "gpt-5-mini"]
    assert type(rates.of_tokens(usage)) is int
    assert rates.of_tokens(usage) == price("gpt-5-mini", usage)
