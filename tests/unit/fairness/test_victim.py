"""Beside a flood a neighbour's first token comes as if it were alone: in virtual time, to the ms.

`bench/fairness.py` measures the same over real HTTP; here the machine's load plays no part.
"""

import asyncio
import random
import statistics

import pytest

from tenantry.core.ids import TenantId, new_id
from tenantry.fairness.accounts import AccountTerms
from tenantry.fairness.concurrency import Bounds
from tenantry.fairness.pool import Pool, Wish
from tenantry.fairness.records import Journal
from tenantry.fairness.scheduler import Bounds as QueueBounds
from tenantry.fairness.scheduler import Scheduler
from tests.unit.pools.virtual_time import LoopClock, run

FLOOD, VICTIM = TenantId(new_id()), TenantId(new_id())
FIRST_TOKEN_S, VICTIM_S, EVERY_S, SECONDS = 0.06, 0.09, 0.08, 60.0


def _p99_s(slots: int, flood: int, *, has_headroom: bool) -> float:
    """The victim's time to first token beside so many calls of a flood, always under way."""
    chance = random.Random(1)

    async def call(pool: Pool, tenant: TenantId, took_s: float) -> float:
        came = asyncio.get_running_loop().time()
        async with pool.slot(Wish(tenant, 1.0, 100.0, "interactive", 1e9)):
            waited_s = asyncio.get_running_loop().time() - came
            await asyncio.sleep(took_s)
        return waited_s

    async def keep_flooding(pool: Pool) -> None:
        while True:
            await call(pool, FLOOD, chance.uniform(0.2, 1.2) * slots / 16)

    async def play() -> float:
        terms = AccountTerms(Bounds(slots, slots, slots), queue=2 * flood + 1, wait_s=600.0)
        pool = Pool("scripted", None, terms, LoopClock(), Journal())
        queue = QueueBounds(requests=2 * flood + 1)
        pool.scheduler = Scheduler(slots, queue, has_headroom=has_headroom)
        floods = [asyncio.create_task(keep_flooding(pool)) for _ in range(flood)]
        await asyncio.sleep(5.0)
        calls = []
        for _ in range(round(SECONDS / EVERY_S)):
            calls.append(asyncio.create_task(call(pool, VICTIM, VICTIM_S)))
            await asyncio.sleep(EVERY_S * chance.uniform(0.5, 1.5))
        waits = await asyncio.gather(*calls)
        for task in floods:
            task.cancel()
        await asyncio.gather(*floods, return_exceptions=True)
        assert pool.is_idle
        return statistics.quantiles((FIRST_TOKEN_S + wait for wait in waits), n=100)[98]

    return run(play())


@pytest.mark.req("FAIR-1")
@pytest.mark.parametrize("slots", [16, 64])
def test_a_hundred_times_the_load_beside_it_costs_a_victim_no_more_than_a_quarter(
    slots: int,
) -> None:
    alone = _p99_s(slots, 0, has_headroom=True)
    assert _p99_s(slots, 100, has_headroom=True) <= 1.25 * alone
    # Fair order alone does not do that: every slot is taken by a call that nobody interrupts.
    assert _p99_s(slots, 100, has_headroom=False) >= 1.5 * alone
