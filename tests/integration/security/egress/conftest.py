"""A guard, a DNS server that lies, and a listener that nobody may reach."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from uuid import UUID

import pytest

from tenantry.core.events import AuditEvent
from tenantry.core.ids import TenantId
from tenantry.isolation.context import Actor, ContextMint, TenantContext
from tenantry.security.egress.guard import EgressGuard
from tenantry.security.egress.messages import Allowance, EgressRequest, EgressResponse
from tenantry.security.egress.policy import EgressPolicy, EntryPoint
from tests.integration.security.egress.forms import PRIVATE, PUBLIC
from tests.sources.dns import LocalDns, UdpResolver
from tests.sources.probe import Probe


@dataclass
class Recorded:
    """An audit sink that keeps what it is told."""

    events: list[AuditEvent] = field(default_factory=list)

    async def record(self, event: AuditEvent) -> None:
        """Keep it."""
        self.events.append(event)

    @property
    def reasons(self) -> list[object]:
        """Why things were refused, in order."""
        return [event.detail["reason"] for event in self.events]


@dataclass
class Street:
    """Everything between a tenant and the outside.

    Attributes:
        guard: allows PUBLIC at every port, and nothing else that is not public.
        probe: listens on every address of this machine.
    """

    ctx: TenantContext
    audit: Recorded
    dns: LocalDns
    probe: Probe
    guard: EgressGuard

    def url(self, host: str, path: str = "/") -> str:
        """Where the probe is, by that name."""
        return f"http://{host}:{self.probe.port}{path}"

    async def fetch(
        self,
        url: str,
        request: EgressRequest | None = None,
        allowance: Allowance | None = None,
        entry: EntryPoint = "http_connector",
    ) -> EgressResponse:
        """Ask for a URL."""
        asked = request or EgressRequest("GET", url)
        return await self.guard.fetch(self.ctx, entry, asked, allowance or Allowance(timeout_s=10))


@pytest.fixture
def dns() -> Iterator[LocalDns]:
    """A DNS server that knows `public.test` and `private.test`."""
    server = LocalDns({"public.test": [(PUBLIC,)], "inner.test": [(PRIVATE,)]})
    with server.serving():
        yield server


@pytest.fixture
def ctx() -> TenantContext:
    """A tenant's context."""
    actor = Actor("member", UUID(int=2), "owner")
    return ContextMint(b"k" * 32).mint(TenantId(UUID(int=1)), actor, frozenset(), "req", 1e9)


@pytest.fixture
async def street(dns: LocalDns, ctx: TenantContext) -> AsyncIterator[Street]:
    """A guard that calls PUBLIC public, and a probe that answers everywhere."""
    audit = Recorded()
    guard = EgressGuard(audit, EgressPolicy.parse(PUBLIC), UdpResolver(dns.port))
    async with Probe().listening() as probe:
        yield Street(ctx, audit, dns, probe, guard)
