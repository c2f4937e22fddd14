"""What is due without anybody asking: each tenant's upkeep, once an hour, as jobs like any other.

An hour's job has the hour in its key, so that many workers may keep the schedule: the first one
enqueues it, and who is killed half-way through the tenants goes on where the keys end.
"""

from tenantry.db.queries import load
from tenantry.isolation.statements import RoleDatabase
from tenantry.jobs.job import POOLS, NewJob
from tenantry.platform import Platform
from tenantry.workers.kinds import UPKEEP

_SQL = load("tenantry.workers")
_REBASE_BEYOND = 1 << 30


class Schedule:
    """Keeps the schedule of one platform; remembers only the last hour it has done whole."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._door = RoleDatabase(platform.upkeep.base.doors.queue)
        self._done = ""

    async def keep(self) -> None:
        """Enqueue what is due, if it is not there yet.

        Raises:
            StoreUnavailable: the database is away; call again.
        """
        platform = self._platform
        hour = f"{platform.clock.now():%Y-%m-%dT%H}"
        if hour == self._done:
            return
        async for ctx in platform.upkeep.each_tenant("schedule"):
            async with platform.db.tenant(ctx) as tx:
                await platform.jobs.enqueue(tx, NewJob("maintenance", UPKEEP, f"{UPKEEP} {hour}"))
        async with self._door.autocommit() as statements:
            await statements.execute(_SQL["remove_old_log"])
            for pool in POOLS:
                await statements.execute(_SQL["rebase"], pool=pool, beyond=_REBASE_BEYOND)
        self._done = hour
