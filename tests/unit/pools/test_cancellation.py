"""Cancelled at any point, a lease leaves nothing behind and nothing for the next to read."""

import asyncio
import random
from collections import Counter

import pytest

from tenantry.core.errors import PoolExhausted
from tenantry.pools.base import Level
from tenantry.pools.pools import Pools
from tests.unit.pools.scripted_server import Customer, pools_with
from tests.unit.pools.virtual_time import run

LEVELS: tuple[Level, ...] = ("hybrid", "dedicated", "shared", "per_request")
CANCELLATIONS = 10_000


async def ask(pools: Pools, customer: Customer, question: str) -> None:
    async with pools.lease(customer.ctx, customer.dial()) as connection:
        answer = await connection.rows(question)
        assert answer == (customer.database.name, customer.database.user, question)


@pytest.mark.req("POOL-2", "POOL-3")
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("is_idle_there", [False, True])
def test_cancelled_at_every_single_moment_a_lease_leaves_nothing(
    level: Level, is_idle_there: bool
) -> None:
    async def body(delay_s: float) -> bool:
        pools = pools_with(total=1)
        acme, globex = Customer.named("acme", level), Customer.named("globex", level)
        if is_idle_there:
            await ask(pools, acme, "before")
        task = asyncio.create_task(ask(pools, acme, "cancelled"))
        await asyncio.sleep(delay_s)
        was_running = task.cancel()
        await asyncio.wait([task])
        await ask(pools, acme, "after")
        if level != "dedicated":  # its idle connection makes no room
            await ask(pools, globex, "the neighbour")
        await pools.close()
        assert not acme.database.sessions
        assert not globex.database.sessions
        assert pools.snapshot().open == 0
        return was_running

    # A step of the scripted server takes 1 ms; a lease at most 6 of them.
    moments = [run(body(half_ms / 2000)) for half_ms in range(14)]
    assert moments[0]
    assert not moments[-1]


@pytest.mark.req("POOL-2", "POOL-3")
def test_ten_thousand_random_cancellations_cross_no_answer_and_leak_no_connection() -> None:
    dice = random.Random(20_261_124)  # where to cancel, reproducibly

    async def use(pools: Pools, customer: Customer, number: int) -> None:
        async with pools.lease(customer.ctx, customer.dial()) as connection:
            for part in range(3):
                question = f"{number}-{part}"
                answer = await connection.rows(question)
                assert answer == (customer.database.name, customer.database.user, question)

    async def cancel_later(task: asyncio.Task[None], delay_s: float) -> str:
        await asyncio.sleep(delay_s)
        task.cancel()
        await asyncio.wait([task])
        if task.cancelled():
            return "cancelled"
        error = task.exception()
        assert error is None or isinstance(error, PoolExhausted), error
        return "exhausted" if error else "done"

    async def body() -> Counter[str]:
        pools = pools_with(total=8, per_tenant=3)
        customers = [Customer.named(f"db{n}", LEVELS[n % 4]) for n in range(20)]
        outcomes: Counter[str] = Counter()
        number = 0
        while outcomes["cancelled"] < CANCELLATIONS:
            batch = []
            for _ in range(40):
                number += 1
                customer = dice.choice(customers)
                task = asyncio.create_task(use(pools, customer, number))
                batch.append(cancel_later(task, dice.uniform(0, 0.03)))
            outcomes.update(await asyncio.gather(*batch))
            assert sum(len(c.database.sessions) for c in customers) <= pools.snapshot().open <= 8
        await pools.close()
        assert not any(customer.database.sessions for customer in customers)
        snapshot = pools.snapshot()
        assert (snapshot.open, snapshot.waiting, snapshot.closing) == (0, 0, 0)
        assert pools._handover.known == 0
        return outcomes

    outcomes = run(body())
    assert outcomes["cancelled"] >= CANCELLATIONS
    assert outcomes["done"] > 100  # not everything was cancelled before it began
