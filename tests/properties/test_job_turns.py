"""Whatever tenants enqueue and whenever: while two have jobs to do, both get the same work done.

Beside the real queue runs a model that knows only who has jobs left and what each pick cost. Over
any stretch in which both tenants have some left, the work picked of each differs by one job of each
at most (start-time fair queuing, Goyal 1996); so nobody brings credit from a time of idleness.
"""

from collections import deque
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pgqueuer.domain.models import Job as Row

from tenantry.core.ids import TenantId
from tenantry.jobs.attempt import Attempt
from tests.integration.jobs.conftest import Hand, opened_desk
from tests.worlds import World

DEAREST, UNDER_WAY = 5, 2


@dataclass(frozen=True)
class Step:
    """Enqueue so many jobs of a tenant, then pick so many of anybody's."""

    tenant: int
    jobs: int
    cost: int
    picks: int


STEP = st.builds(
    Step, st.integers(0, 1), st.integers(0, 12), st.integers(1, DEAREST), st.integers(0, 12)
)
RETURN_OF_THE_IDLE = [Step(0, 12, DEAREST, 12), Step(1, 12, DEAREST, 0), Step(0, 12, DEAREST, 12)]


class Account:
    """What the model knows: jobs left, and what each got since both have had some."""

    def __init__(self, *tenants: TenantId) -> None:
        self.left = dict.fromkeys(tenants, 0)
        self._got = dict.fromkeys(tenants, 0)

    def picked(self, tenant: TenantId, cost: int) -> None:
        """One job of this tenant was picked."""
        if min(self.left.values()) == 0:
            self._got = dict.fromkeys(self.left, 0)
        else:
            self._got[tenant] += cost
            first, second = self._got.values()
            assert abs(first - second) <= 2 * DEAREST
        self.left[tenant] -= 1


@dataclass
class Workers:
    """Picks jobs one after the other; two are under way at a time."""

    hand: Hand
    account: Account
    under_way: deque[tuple[Row, Attempt]]

    async def pick(self) -> None:
        """Take the job whose turn it is, and end the one that was begun first."""
        row = await self.hand.pick()
        assert row is not None
        attempt = await self.hand.begin(row)
        assert attempt is not None
        self.account.picked(attempt.ctx.tenant, int(attempt.job.subject.split()[-1]))
        self.under_way.append((row, attempt))
        if len(self.under_way) > UNDER_WAY:
            row, attempt = self.under_way.popleft()
            async with attempt.effect():
                pass
            await self.hand.report(row)


@pytest.mark.req("FAIR-3")
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STEP, min_size=2, max_size=6), st.sampled_from([[], RETURN_OF_THE_IDLE]))
async def test_two_tenants_with_jobs_get_the_same_work_done_whatever_was_before(
    world: World, drawn: list[Step], first: list[Step]
) -> None:
    with world.admin() as admin:  # every example begins with an empty queue and no past
        for table in ("tenantry.jobs", "tenantry.job_shares", "tenantry_queue.pgqueuer"):
            admin.execute(f"DELETE FROM {table}".encode())
        admin.execute("UPDATE tenantry_queue.virtual_time SET reached = 0, origin = 0")
    tenants = (world.acme, world.globex)
    account = Account(*(ctx.tenant for ctx in tenants))
    async with opened_desk(world) as desk:
        workers = Workers(await desk.hand(), account, deque())
        for number, step in enumerate([*first, *drawn]):
            ctx = tenants[step.tenant]
            keys = (f"{number} {n} {step.cost}" for n in range(step.jobs))
            await desk.enqueue(ctx, *keys, cost=step.cost)
            account.left[ctx.tenant] += step.jobs
            for _ in range(min(step.picks, sum(account.left.values()))):
                await workers.pick()
