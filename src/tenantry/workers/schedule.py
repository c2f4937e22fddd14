"""What is due without anybody asking, as jobs like any other, for each tenant.

Upkeep once an hour, the count of what it keeps once a night (by UTC). A job has its hour or day in
its key, so that many workers may keep the schedule: the first one enqueues it, and who is killed
half-way through the tenants goes on where the keys end. Counting twice does no harm: the entries of
a day are entered once.
"""

from tenantry.db.queries import load
from tenantry.isolation.statements import RoleDatabase
from tenantry.jobs.job import POOLS, NewJob
from tenantry.platform import Platform
from tenantry.workers.kinds import STORAGE, UPKEEP

_SQL = load("tenantry.workers")
_REBASE_BEYOND = 1 << 30


class Schedule:
    """Keeps the schedule of one platform; remembers only what it has done whole last."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._door = RoleDatabase(platform.upkeep.base.doors.queue)
        self._hour = self._day = ""

    async def keep(self) -> None:
        """Enqueue what is due, if it is not there yet.

        Raises:
            StoreUnavailable: the database is away; call again.
        """
        platform = self._platform
        hour = f"{platform.clock.now():%Y-%m-%dT%H}"
        day = hour[:10]
        if hour == self._hour:
            return
        due = [NewJob("maintenance", UPKEEP, f"{UPKEEP} {hour}")]
        if day != self._day:
            due.append(NewJob("maintenance", STORAGE, f"{STORAGE} {day}"))
        async for ctx in platform.upkeep.each_tenant("schedule"):
            async with platform.db.tenant(ctx) as tx:
                for job in due:
                    await platform.jobs.enqueue(tx, job)
        async with self._door.autocommit() as statements:
            await statements.execute(_SQL["remove_old_log"])
            for pool in POOLS:
                await statements.execute(_SQL["rebase"], pool=pool, beyond=_REBASE_BEYOND)
        self._hour, self._day = hour, day
