"""The pools as a state machine: whatever happens, in whatever order, nobody crosses (POOL-2).

Tenants lease, are cancelled, fail; credentials rotate; servers restart, stall and come back; maps,
tags and sockets are tampered with; time passes. All in virtual time against a scripted server.
"""

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle as Names
from hypothesis.stateful import (
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from tenantry.core.errors import OwnershipViolated, PoolExhausted, QueryFailed
from tenantry.pools.base import Level
from tenantry.pools.ownership import Owned
from tests.unit.pools.scripted_server import Customer, Recorded, ScriptedConnection, pools_with
from tests.unit.pools.virtual_time import VirtualTimeLoop

TOTAL, PER_TENANT = 4, 2
LEVELS: tuple[Level, ...] = ("hybrid", "hybrid", "dedicated", "shared", "per_request")
CUSTOMERS = st.integers(0, len(LEVELS) - 1)


@dataclass
class Usage:
    """One lease and what became of it."""

    customer: Customer
    task: asyncio.Task[None] | None = None
    wrong: list[object] = field(default_factory=list)
    refused: int = 0


class PoolMachine(RuleBasedStateMachine):
    """Five tenants, two of them on one login, behind four connections."""

    usages = Names("usages")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self.audit = Recorded()
        self.all: list[Usage] = []
        self.tampered = 0

    @initialize()
    def open(self) -> None:
        self.customers = [Customer.named(f"db{n}", level) for n, level in enumerate(LEVELS)]
        self.versions = [1] * len(LEVELS)
        self.runner.run(self._open())

    async def _open(self) -> None:
        self.pools = pools_with(TOTAL, PER_TENANT, self.audit, idle_s=20.0, max_lifetime_s=90.0)

    @rule(target=usages, who=CUSTOMERS, hold_s=st.sampled_from([0.0, 0.002, 1.0, 7.0]),
          end=st.sampled_from(["well", "query", "bug"]))  # fmt: skip
    def lease(self, who: int, hold_s: float, end: str) -> Usage:
        """Start a lease; it goes on while time passes."""
        usage = Usage(self.customers[who])
        self.runner.run(self._start(usage, self.versions[who], hold_s, end))
        self.all.append(usage)
        return usage

    async def _start(self, usage: Usage, version: int, hold_s: float, end: str) -> None:
        usage.task = asyncio.create_task(self._use(usage, version, hold_s, end))

    async def _use(self, usage: Usage, version: int, hold_s: float, end: str) -> None:
        customer = usage.customer
        try:
            async with self.pools.lease(customer.ctx, customer.dial(version)) as connection:
                for number in range(3):
                    question = f"{id(usage)}-{number}"
                    async with asyncio.timeout(3):  # a query's own limit
                        answer = await connection.rows(question)
                    if answer != (customer.database.name, customer.database.user, question):
                        usage.wrong.append(answer)
                    await asyncio.sleep(hold_s)
                if end == "query":
                    await connection.fail()
                assert end != "bug"
        except OwnershipViolated:
            usage.refused += 1
        except (PoolExhausted, QueryFailed, TimeoutError, AssertionError):
            return

    @rule(seconds=st.sampled_from([0.0, 0.0005, 0.001, 0.0015, 0.5, 6.0, 30.0]))
    def pass_time(self, seconds: float) -> None:
        self.runner.run(asyncio.sleep(seconds))

    @rule(usage=consumes(usages))
    def cancel(self, usage: Usage) -> None:
        assert usage.task is not None
        usage.task.cancel()

    @rule(who=CUSTOMERS)
    def rotate(self, who: int) -> None:
        """A new credential; what was made with the old one must go."""
        customer = self.customers[who]
        self.versions[who] += 1
        older_than = self.versions[who]
        self.runner.run(
            self.pools.retire(customer.ctx.tenant, customer.connector, older_than=older_than)
        )
        assert not any(
            owned.dialled_for.credential_version < older_than
            for owned in self.pools._supply.idle
            if owned.dialled_for.connector == customer.connector and not owned.is_checked
        )

    @rule(who=CUSTOMERS)
    def restart_server(self, who: int) -> None:
        self.customers[who].database.kill_sessions()

    @rule(who=CUSTOMERS, is_on=st.booleans())
    def drop_packets(self, who: int, is_on: bool) -> None:
        self.customers[who].database.is_black_hole = is_on

    @rule()
    def tend(self) -> None:
        async def start() -> None:
            self.tending = asyncio.create_task(self.pools.tend())

        self.runner.run(start())

    @precondition(lambda self: len(self._private()) >= 2)
    @rule(which=st.sampled_from(["map", "tag", "socket"]))
    def tamper(self, which: str) -> None:
        """Swap what two idle connections of different tenants are known by."""
        a, b, *_ = self._private()
        assert isinstance(a.connection, ScriptedConnection)
        assert isinstance(b.connection, ScriptedConnection)
        self.tampered += 2
        if which == "map":
            entries = self.pools._handover._map._entries
            one, two = id(a.connection), id(b.connection)
            entries[one], entries[two] = entries[two], entries[one]
        elif which == "tag":
            a.tag, b.tag = b.tag, a.tag
        else:
            a.connection.wire, b.connection.wire = b.connection.wire, a.connection.wire

    def _private(self) -> list[Owned]:
        """One idle connection of each tenant, but for the shared level."""
        found = {
            owned.tenant: owned for owned in self.pools._supply.idle if owned.tenant is not None
        }
        return list(found.values())

    @invariant()
    def nobody_reads_anothers_answer(self) -> None:
        assert not [usage.wrong for usage in self.all if usage.wrong]

    @invariant()
    def refusals_are_recorded_once_and_only_after_tampering(self) -> None:
        refused = sum(usage.refused for usage in self.all)
        assert refused <= len(self.audit.events) <= self.tampered

    @invariant()
    def caps_hold(self) -> None:
        if not hasattr(self, "pools"):
            return
        sessions = [len(customer.database.sessions) for customer in self.customers]
        assert sum(sessions) <= self.pools.snapshot().open <= TOTAL
        assert max(sessions) <= PER_TENANT or self.tampered

    @invariant()
    def nobody_waits_for_what_is_there(self) -> None:
        if not hasattr(self, "pools") or not self.pools.snapshot().waiting:
            return
        supply, places = self.pools._supply, self.pools._supply._places
        queues, in_round = supply._turns._queues, dict(supply._turns.round())
        assert all(places.is_full_for(tenant) for tenant in queues if tenant not in in_round)
        could_use = sum(min(n, places.left_for(tenant)) for tenant, n in in_round.items())
        if could_use:
            assert places.is_full
            yielding = [o for o in supply.idle if o.rules.makes_room and not o.is_checked]
            assert not yielding or supply._making_room >= could_use

    def teardown(self) -> None:
        with self.runner:
            if hasattr(self, "pools"):
                self.runner.run(self._end())
                self._nothing_is_left()

    def _nothing_is_left(self) -> None:
        snapshot = self.pools.snapshot()
        assert (snapshot.open, snapshot.closing, snapshot.waiting) == (0, 0, 0)
        assert not any(customer.database.sessions for customer in self.customers)
        assert self.pools._handover.known == 0
        assert all(level.leased == level.idle == 0 for level in snapshot.levels.values())
        self.nobody_reads_anothers_answer()

    async def _end(self) -> None:
        """Everybody comes to an end by the deadlines alone; then nothing may be left."""
        for customer in self.customers:
            customer.database.is_black_hole = False
        await asyncio.wait_for(asyncio.gather(*self._tasks(), return_exceptions=True), 120)
        await self.pools.close()

    def _tasks(self) -> list[asyncio.Task[None]]:
        tasks = [usage.task for usage in self.all if usage.task is not None]
        return [*tasks, self.tending] if hasattr(self, "tending") else tasks


TestPools = pytest.mark.req("POOL-1", "POOL-2", "POOL-3")(PoolMachine.TestCase)
TestPools.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
