"""Records sign-ins that failed, bounded however many there are (SEC-4, SEC-6).

Threat: whoever may send requests writes as many rows as it likes into a log that nobody can delete
from, and buries what matters under them.
Invariant: of each source, the first few in a minute are recorded as they happen; all further ones
are counted, and the count follows as one event. Only a killed process loses its last count.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network

from tenantry.core.clock import Clock
from tenantry.core.errors import StoreUnavailable
from tenantry.core.events import AuditEvent, AuditSink, Json
from tenantry.core.ids import TenantId

AT_ONCE = 20
"""Refusals of one source that are recorded singly in a minute."""
WINDOW_S = 60.0
_MOST_SOURCES = 256
_MOST_TARGETS = 256
_ELSEWHERE = "elsewhere"
_ROUND_S = 15.0
_IPV6_NETWORK = 64  # what one customer of a provider is given

_Key = tuple[TenantId, str, str]


@dataclass(slots=True)
class _Window:
    """A minute of one source's refusals of one kind."""

    began: float
    written: int = 0
    counted: int = 0
    targets: set[str] = field(default_factory=set)
    last: AuditEvent | None = None


class RefusedSignIns:
    """Where failed sign-ins go."""

    def __init__(self, audit: AuditSink, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock
        self._windows: dict[_Key, _Window] = {}

    async def record(self, event: AuditEvent, source: str) -> None:
        """Record a refusal, or count it.

        Args:
            event: what was refused.
            source: the address that it came from.

        Raises:
            StoreUnavailable: the log cannot be written.
        """
        named = _network(source)
        key = (event.tenant, event.action, named)
        if key not in self._windows and len(self._windows) >= _MOST_SOURCES:
            named = _ELSEWHERE
            key = (event.tenant, event.action, named)
        window = self._windows.setdefault(key, _Window(self._clock.monotonic()))
        if window.written < AT_ONCE:
            window.written += 1
            await self._audit.record(replace(event, detail={**event.detail, "source": named}))
            return
        window.counted += 1
        window.last = event
        if len(window.targets) <= _MOST_TARGETS:
            window.targets.add(event.target)

    async def run(self) -> None:
        """Record the counts of minutes that are over, until cancelled."""
        while True:
            await asyncio.sleep(_ROUND_S)
            await self.settle()

    async def settle(self) -> None:
        """Record the counts of minutes that are over; what cannot be written is kept."""
        over = self._clock.monotonic() - WINDOW_S
        await self._settle(lambda window: window.began <= over)

    async def close(self) -> None:
        """Record every count."""
        await self._settle(lambda _: True)

    async def _settle(self, is_due: Callable[[_Window], bool]) -> None:
        for key, window in [(k, w) for k, w in self._windows.items() if is_due(w)]:
            self._windows.pop(key, None)
            if window.last is None:
                continue
            try:
                await self._audit.record(_summary(window.last, key[2], window))
            except StoreUnavailable:
                self._keep(key, window)
                return

    def _keep(self, key: _Key, window: _Window) -> None:
        newer = self._windows.setdefault(key, window)
        if newer is not window:
            newer.counted += window.counted
            newer.targets |= window.targets
            newer.last = newer.last or window.last


def _summary(last: AuditEvent, source: str, window: _Window) -> AuditEvent:
    is_many = len(window.targets) > _MOST_TARGETS
    facts: dict[str, Json] = {
        "source": source,
        "further": window.counted,
        "targets": f"more than {_MOST_TARGETS}" if is_many else len(window.targets),
    }
    return replace(last, target="", detail=facts)


def _network(source: str) -> str:
    """The address, or for IPv6 the network: an attacker has all of it."""
    try:
        address = ip_address(source)
    except ValueError:
        return _ELSEWHERE
    if address.version == 4:
        return str(address)
    return str(ip_network((address, _IPV6_NETWORK), strict=False))
