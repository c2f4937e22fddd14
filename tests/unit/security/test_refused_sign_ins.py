"""Failed sign-ins are recorded, each once, and bounded however many there are."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.clock import ManualClock
from tenantry.core.errors import StoreUnavailable
from tenantry.core.events import AuditEvent
from tenantry.core.ids import PLATFORM, TenantId, new_id
from tenantry.security.refused_sign_ins import AT_ONCE, WINDOW_S, RefusedSignIns

pytestmark = pytest.mark.req("SEC-4", "SEC-6")


@dataclass
class Log:
    """Keeps what is recorded; may be away."""

    events: list[AuditEvent] = field(default_factory=list)
    is_away: bool = False

    async def record(self, event: AuditEvent) -> None:
        if self.is_away:
            raise StoreUnavailable
        self.events.append(event)

    @property
    def refusals(self) -> int:
        """How many refusals the events tell of."""
        return sum(int(str(e.detail.get("further", 1))) for e in self.events)


def _event(target: str = "t", tenant: TenantId = PLATFORM) -> AuditEvent:
    return AuditEvent(tenant, "anonymous", "key.unknown", "refused", "api", target, {}, "r")


def _fresh() -> tuple[Log, ManualClock, RefusedSignIns]:
    log, clock = Log(), ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    return log, clock, RefusedSignIns(log, clock)


async def test_the_first_of_a_minute_are_recorded_and_the_others_counted() -> None:
    log, clock, refused = _fresh()
    for number in range(1000):
        await refused.record(_event(f"t{number % 5}"), "203.0.113.7")
    assert len(log.events) == AT_ONCE
    assert {event.detail["source"] for event in log.events} == {"203.0.113.7"}
    await refused.settle()
    assert len(log.events) == AT_ONCE  # the minute is not over
    clock.advance(WINDOW_S)
    await refused.settle()
    assert log.events[-1].detail == {
        "source": "203.0.113.7", "further": 1000 - AT_ONCE, "targets": 5,
    }  # fmt: skip
    await refused.record(_event(), "203.0.113.7")
    assert len(log.events) == AT_ONCE + 2  # a new minute


async def test_sources_and_chains_are_told_apart_and_an_ipv6_network_is_one() -> None:
    log, _, refused = _fresh()
    tenant = TenantId(new_id())
    for number in range(AT_ONCE):
        await refused.record(_event(), "203.0.113.7")
        await refused.record(_event(tenant=tenant), "203.0.113.7")
        await refused.record(_event(), f"2001:db8::{number:x}")
    assert len(log.events) == 3 * AT_ONCE
    await refused.record(_event(), "2001:db8::ffff")
    await refused.record(_event(), "203.0.113.8")
    assert len(log.events) == 3 * AT_ONCE + 1
    assert log.events[2].detail["source"] == "2001:db8::/64"


async def test_any_number_of_sources_writes_a_bounded_number_of_rows() -> None:
    log, _, refused = _fresh()
    for number in range(4000):
        await refused.record(_event(), f"10.0.{number // 250}.{number % 250}")
    await refused.close()
    assert len(log.events) < 256 + 2 * AT_ONCE
    assert log.refusals == 4000


async def test_a_count_that_cannot_be_written_is_written_later() -> None:
    log, clock, refused = _fresh()
    for _ in range(AT_ONCE + 5):
        await refused.record(_event(), "203.0.113.7")
    log.is_away = True
    clock.advance(WINDOW_S)
    await refused.settle()
    log.is_away = False
    for _ in range(3):
        await refused.record(_event(), "203.0.113.7")
    await refused.close()
    assert log.refusals == AT_ONCE + 8


@given(st.lists(st.one_of(st.sampled_from(["1.1.1.1", "2.2.2.2", "", "x"]), st.integers(1, 90))))
async def test_every_refusal_is_told_of_exactly_once(steps: list[str | int]) -> None:
    log, clock, refused = _fresh()
    for step in steps:
        if isinstance(step, int):
            clock.advance(step)
            await refused.settle()
        else:
            for _ in range(15):
                await refused.record(_event(), step)
    await refused.close()
    assert log.refusals == 15 * sum(isinstance(step, str) for step in steps)
