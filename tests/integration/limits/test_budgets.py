"""Budgets on a real database: several replicas, one limit, and what happens at it."""

import asyncio
from uuid import uuid4

import pytest

from tenantry.core.clock import ManualClock
from tenantry.core.errors import BudgetExhausted, LeaseLost, StoreUnavailable
from tenantry.limits.complexity import Use
from tenantry.metering.ledger import CallIntent
from tenantry.metering.usage import TokenUsage
from tests.integration.limits.stage import MODEL, PROVIDER, Replica, ask, budget, plans, used
from tests.worlds import World


@pytest.mark.req("LIM-1")
async def test_a_tenant_without_budgets_is_not_limited_and_its_neighbour_is(world: World) -> None:
    await plans(world).set(world.globex, budget(hard_limit=0))
    replica = Replica.of(world)
    reservation, opened = await replica.call(world.acme, 10**6)
    assert reservation.lease_id is None
    assert opened.tenant == world.acme.tenant
    with pytest.raises(BudgetExhausted):
        await replica.call(world.globex, 1)


@pytest.mark.req("LIM-1", "LIM-2")
async def test_replicas_together_never_pass_a_limit(world: World) -> None:
    await plans(world).set(world.acme, budget(hard_limit=100 * 100_000))
    replicas = [Replica.of(world) for _ in range(3)]
    outcomes = await asyncio.gather(
        *(replicas[n % 3].call(world.acme, 100) for n in range(120)), return_exceptions=True
    )
    done = [outcome for outcome in outcomes if isinstance(outcome, tuple)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, BudgetExhausted)]
    assert len(done) + len(refused) == 120
    assert 90 <= len(done) <= 100
    assert (await used(world, world.acme))[""] <= 100 * 100_000


@pytest.mark.req("LIM-1")
async def test_what_a_call_did_not_use_is_free_again(world: World) -> None:
    await plans(world).set(world.acme, budget(hard_limit=1_000_000))
    replica = Replica.of(world)
    for _ in range(20):  # each reserves half of the budget, and uses a hundredth
        await replica.finish(world.acme, await replica.call(world.acme, 500), 10)
    await replica.tell()
    assert await used(world, world.acme) == {"": 20 * 10_000}


@pytest.mark.req("LIM-1")
async def test_a_refused_call_takes_nothing_of_any_budget(world: World) -> None:
    await plans(world).set(world.acme, budget(hard_limit=10**9))
    await plans(world).set(world.acme, budget(unit="requests", hard_limit=1, period="hour"))
    await plans(world).set(world.acme, budget(scope="member", hard_limit=10**9))
    replica = Replica.of(world)
    await replica.finish(world.acme, await replica.call(world.acme, 100), 100)
    for _ in range(5):
        with pytest.raises(BudgetExhausted) as refused:
            await replica.call(world.acme, 100)
        assert refused.value.facts["unit"] == "requests"
    await replica.tell()
    found = {(s.budget.scope, s.budget.unit): s.used + s.held
             for s in await plans(world).standing(world.acme)}  # fmt: skip
    assert found == {
        ("tenant", "tokens"): 100_000, ("tenant", "requests"): 1, ("member", "tokens"): 100_000,
    }  # fmt: skip


@pytest.mark.req("LIM-1")
async def test_a_refusal_names_the_budget_what_is_left_and_when_it_resets(world: World) -> None:
    stored = await plans(world).set(world.acme, budget(hard_limit=150_000))
    replica = Replica.of(world)
    await replica.call(world.acme, 100)
    with pytest.raises(BudgetExhausted) as refused:
        await replica.call(world.acme, 100)
    error = refused.value
    assert error.facts["id"] == str(stored.id)
    assert (error.facts["window"], error.facts["limit"], error.facts["remaining"]) == (
        "day",
        150,
        50,
    )
    assert error.retry_after_s is not None
    assert 0 < error.retry_after_s <= 86_400
    assert error.headers["ratelimit-policy"] == '"tenant-tokens-day";q=150;w=86400;qu="tokens"'
    assert error.headers["ratelimit"].startswith('"tenant-tokens-day";r=50;t=')
    with pytest.raises(BudgetExhausted, match="could use more"):
        await replica.call(world.acme, 10**6)


@pytest.mark.req("LIM-1")
async def test_each_member_key_and_model_has_its_own(world: World) -> None:
    await plans(world).set(world.acme, budget(scope="member", hard_limit=100_000))
    other = world.context(world.acme)
    replica = Replica.of(world)
    await replica.call(world.acme, 100)
    await replica.call(other, 60)
    with pytest.raises(BudgetExhausted):
        await replica.call(world.acme, 1)
    await replica.call(other, 40)
    assert await used(world, world.acme, "member") == {
        str(world.acme.actor.id): 100_000, str(other.actor.id): 100_000,
    }  # fmt: skip
    assistant = uuid4()
    mine = budget(scope="assistant", subject=str(assistant), hard_limit=0)
    await plans(world).set(world.acme, mine)
    with pytest.raises(BudgetExhausted):
        await replica.call(world.context(world.acme), 1, assistant)
    await replica.call(world.context(world.acme), 1, uuid4())


@pytest.mark.req("LIM-2")
async def test_an_intent_needs_a_live_lease_of_todays_budgets(world: World) -> None:
    replica = Replica.of(world)
    bound = TokenUsage(input_tokens=5)

    async def write(lease: object) -> None:
        intent = CallIntent("chat", PROVIDER, MODEL, bound, lease_id=lease)  # type: ignore[arg-type]
        await replica.ledger.open(world.acme, intent)

    def announced() -> int:
        with world.admin() as admin:
            found = admin.execute("SELECT count(*) FROM tenantry.usage_events").fetchone()
        return int(found[0]) if found else 0

    await write(None)  # no budgets, no lease
    await plans(world).set(world.acme, budget())
    await plans(world).set(world.globex, budget())
    mine = (await replica.reserve(world.acme)).lease_id
    theirs = (await replica.reserve(world.globex)).lease_id
    await write(mine)
    for wrong in (None, uuid4(), theirs):
        with pytest.raises(LeaseLost):
            await write(wrong)
    assert announced() == 2
    with world.admin() as admin:
        admin.execute("UPDATE tenantry.budget_leases SET expires_at = now() - interval '1 ms'")
    with pytest.raises(LeaseLost):
        await write(mine)
    mine = (await Replica.of(world).reserve(world.acme)).lease_id
    await write(mine)
    await plans(world).set(world.acme, budget(unit="requests"))  # whatever changes, ends leases
    with pytest.raises(LeaseLost):
        await write(mine)


@pytest.mark.req("LIM-2")
async def test_a_changed_budget_ends_leases_by_their_time_and_by_their_epoch(world: World) -> None:
    await plans(world).set(world.acme, budget())
    replica = Replica.of(world)
    lease = (await replica.reserve(world.acme)).lease_id
    await plans(world).set(world.acme, budget(unit="requests"))
    with world.admin() as admin:
        over = admin.execute("SELECT expires_at <= clock_timestamp() FROM tenantry.budget_leases")
        assert over.fetchall() == [(True,)]
        admin.execute("UPDATE tenantry.budget_leases SET expires_at = now() + interval '1 minute'")
    intent = CallIntent("chat", PROVIDER, MODEL, TokenUsage(input_tokens=5), lease_id=lease)
    with pytest.raises(LeaseLost):
        await replica.ledger.open(world.acme, intent)


@pytest.mark.req("LIM-2")
async def test_a_lowered_limit_holds_from_the_next_call_on(world: World) -> None:
    await plans(world).set(world.acme, budget(hard_limit=10**9))
    replica, other = Replica.of(world), Replica.of(world)
    for _ in range(30):
        await replica.finish(world.acme, await replica.call(world.acme, 100), 100)
        await other.finish(world.acme, await other.call(world.acme, 100), 100)
    await plans(world).set(world.acme, budget(hard_limit=60 * 100_000))
    for one in (replica, other):  # nobody told them: the database refuses their old leases
        with pytest.raises(BudgetExhausted):
            await one.call(world.acme, 100)
    await plans(world).set(world.acme, budget(hard_limit=61 * 100_000))
    replica.budgets.heard(str(world.acme.tenant))
    await replica.call(world.acme, 100)


@pytest.mark.req("LIM-2")
async def test_while_the_store_is_away_a_slice_is_spent_and_then_calls_are_refused(
    world: World,
) -> None:
    clock = ManualClock(world.clock.now())
    await plans(world).set(world.acme, budget(hard_limit=10**9))
    replica = Replica.of(world, clock)
    await replica.reserve(world.acme)
    clock.advance(1)
    await replica.reserve(world.acme)  # a slice for what comes next
    await asyncio.gather(*(pool.close() for pool in world.pools.values()))
    calls = (replica.reserve(world.acme, 1) for _ in range(1000))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, StoreUnavailable)]
    assert 0 < len(refused) < 1000
    clock.advance(5)
    with pytest.raises(StoreUnavailable):
        await replica.reserve(world.acme, 1)


@pytest.mark.req("LIM-2")
async def test_a_caller_that_leaves_while_it_waits_holds_nothing(world: World) -> None:
    await plans(world).set(world.acme, budget(hard_limit=10**9))
    replica = Replica.of(world)
    for turns in range(12):
        task = asyncio.create_task(replica.reserve(world.acme, 77))
        for _ in range(turns * 4):
            await asyncio.sleep(0)
        task.cancel()
        outcome = (await asyncio.gather(task, return_exceptions=True))[0]
        if not isinstance(outcome, BaseException):
            outcome.release()
    await replica.tell()
    assert await used(world, world.acme) == {"": 0}


@pytest.mark.req("LIM-1")
async def test_a_provider_that_bills_more_than_the_bound_leaves_a_debt(world: World) -> None:
    await plans(world).set(world.acme, budget(hard_limit=1_000_000))
    replica = Replica.of(world)
    reservation = await replica.reserve(world.acme, 100)
    reservation.settle(Use(input_tokens=900))
    reservation.settle(Use(input_tokens=0))  # the first word counts
    with pytest.raises(BudgetExhausted):
        await replica.reserve(world.acme, 101)
    await replica.reserve(world.acme, 100)
    await replica.tell()
    assert (await used(world, world.acme))[""] == 1_000_000


@pytest.mark.req("LIM-2")
async def test_a_hot_tenant_hardly_ever_asks_the_store(world: World) -> None:
    clock = ManualClock(world.clock.now())
    for wanted in (
        budget(period="minute", hard_limit=10**12),
        budget(period="hour", hard_limit=10**12),
        budget(period="day", unit="requests", hard_limit=10**12),
        budget(period="month", unit="cost", hard_limit=10**15),
    ):
        await plans(world).set(world.acme, wanted)
    replica = Replica.of(world, clock)
    for _ in range(2000):
        clock.advance(0.001)
        (await replica.budgets.reserve(world.acme, ask(world.acme), Use(100))).settle(Use(90))
    assert replica.budgets.trips <= 0.05 * 2000
