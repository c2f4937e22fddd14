"""Many tenants' real databases behind few connections: everyone gets its own rows (POOL-1, 2, 3).

The soak is two thousand databases behind a hundred connections, for 200,000 leases.
"""

import logging
from collections.abc import Iterator

import pytest

from tenantry.pools.base import Level
from tests.integration.pools.conftest import serving
from tests.integration.pools.traffic import Size, Traffic
from tests.sources.tenant_databases import TenantServer, sessions_gone

SMALL = Size(tenants=12, acquisitions=600, cap=6, workers=8)
# Fewer at work than places: with more, each lease would dial, which SMALL has already.
FULL = Size(tenants=2_000, acquisitions=200_000, cap=100, workers=92)
LEVELS: tuple[Level, ...] = ("hybrid", "hybrid", "shared", "per_request")


@pytest.fixture
def full_server() -> Iterator[TenantServer]:
    with serving(FULL.tenants) as server:
        yield server


async def hold(server: TenantServer, size: Size) -> None:
    traffic = Traffic.over(server, size)
    await traffic.run()
    assert not traffic.wrong
    assert not traffic.audit.events
    assert traffic.outcomes["OwnershipViolated"] == 0
    assert traffic.is_done
    assert traffic.outcomes["answered"] > 0.5 * size.acquisitions
    assert traffic.most_sessions <= size.cap
    assert traffic.pools.snapshot().open == 0
    assert await sessions_gone(server) == {}
    logging.getLogger(__name__).info(
        "%s at most %s sessions, %s",
        dict(traffic.outcomes),
        traffic.most_sessions,
        traffic.pools.snapshot().levels["hybrid"],
    )


@pytest.mark.req("POOL-1", "POOL-2", "POOL-3")
async def test_every_tenant_gets_its_own_rows_whatever_happens_meanwhile(
    tenant_server: TenantServer,
) -> None:
    for number, tenant in enumerate(tenant_server.tenants):
        tenant.level = LEVELS[number % len(LEVELS)]
    await hold(tenant_server, SMALL)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.req("POOL-1", "POOL-2", "POOL-3")
async def test_two_thousand_databases_behind_a_hundred_connections(
    full_server: TenantServer,
) -> None:
    await hold(full_server, FULL)
