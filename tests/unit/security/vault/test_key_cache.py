"""Clear data keys: given out for what was just read, and gone after minutes."""

import asyncio
from datetime import UTC, datetime

import pytest

from tenantry.core.clock import ManualClock, SystemClock
from tenantry.core.ids import TenantId, new_id
from tenantry.security.vault.envelope import DataKey
from tenantry.security.vault.key_cache import KeyCache
from tenantry.security.vault.keys import Wrapped

ACME, GLOBEX = TenantId(new_id()), TenantId(new_id())
KEY = DataKey(1, bytes(32))
WRAPPED = Wrapped(b"blob", "file:a")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 5, 1, tzinfo=UTC))


@pytest.mark.req("POOL-4")
async def test_a_key_is_given_out_for_its_tenant_version_and_wrapping_only(
    clock: ManualClock,
) -> None:
    cache = KeyCache(clock)
    cache.put(ACME, KEY, WRAPPED)
    assert cache.get(ACME, 1, WRAPPED) is KEY
    assert cache.get(GLOBEX, 1, WRAPPED) is None
    assert cache.get(ACME, 2, WRAPPED) is None
    assert cache.get(ACME, 1, Wrapped(b"other", "file:a")) is None
    assert cache.get(ACME, 1, Wrapped(b"blob", "file:b")) is None


@pytest.mark.req("POOL-4")
async def test_a_key_is_held_for_five_minutes_however_much_it_is_used(clock: ManualClock) -> None:
    cache = KeyCache(clock)
    cache.put(ACME, KEY, WRAPPED)
    clock.advance(299)
    assert cache.get(ACME, 1, WRAPPED) is KEY
    clock.advance(1)
    assert cache.get(ACME, 1, WRAPPED) is None
    cache.drop_expired()
    assert len(cache) == 0


@pytest.mark.req("POOL-4")
async def test_keys_that_nobody_asks_for_are_let_go_as_well() -> None:
    cache = KeyCache(SystemClock(), life_s=0.02)
    cache.put(ACME, KEY, WRAPPED)
    await asyncio.sleep(0.01)
    cache.put(GLOBEX, KEY, WRAPPED)
    while len(cache):  # noqa: ASYNC110 - it forgets by a timer, and tells nobody
        await asyncio.sleep(0.005)
    cache.put(ACME, KEY, WRAPPED)  # and the next ones, too
    while len(cache):  # noqa: ASYNC110 - it forgets by a timer, and tells nobody
        await asyncio.sleep(0.005)


@pytest.mark.req("POOL-4")
async def test_one_tenants_keys_can_be_let_go_at_once(clock: ManualClock) -> None:
    cache = KeyCache(clock)
    cache.put(ACME, KEY, WRAPPED)
    cache.put(GLOBEX, KEY, WRAPPED)
    cache.drop(ACME)
    assert cache.get(ACME, 1, WRAPPED) is None
    assert cache.get(GLOBEX, 1, WRAPPED) is KEY
    assert repr(cache) == "KeyCache(1 keys)"
