"""Names are looked up a few at a time for each tenant; nobody waits for a neighbour's dead DNS."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest

from tenantry.core.ids import TenantId
from tenantry.security.egress import resolver
from tenantry.security.egress.resolver import LookUps, SystemResolver

pytestmark = pytest.mark.req("CON-4")
ACME, GLOBEX = TenantId(UUID(int=1)), TenantId(UUID(int=2))


class _Scripted:
    """Answers `dead…` only when told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer = asyncio.Event()

    async def addresses(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        if host.startswith("dead"):
            await self.answer.wait()
            raise OSError("gone")
        return ["8.8.8.8"]


async def _started(tasks: int) -> None:
    for _ in range(tasks * 3):
        await asyncio.sleep(0)


async def test_a_tenant_with_a_dead_dns_server_holds_up_only_itself() -> None:
    source = _Scripted()
    look_ups = LookUps(source)
    dead = [asyncio.create_task(look_ups.addresses(ACME, f"dead{n}")) for n in range(20)]
    await _started(20)
    assert len(source.asked) == 4
    assert await look_ups.addresses(GLOBEX, "fine") == ("8.8.8.8",)
    source.answer.set()
    assert all(isinstance(e, OSError) for e in await asyncio.gather(*dead, return_exceptions=True))
    assert len(source.asked) == 21


async def test_giving_up_does_not_give_the_turn_to_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The thread still waits: whoever gives up and asks again would fill them all.
    monkeypatch.setattr(resolver, "_PATIENCE_S", 0.01)
    source = _Scripted()
    look_ups = LookUps(source)
    for n in range(8):
        with pytest.raises(TimeoutError):
            await look_ups.addresses(ACME, f"dead{n}")
    assert len(source.asked) == 4
    source.answer.set()
    await _started(20)
    assert await look_ups.addresses(ACME, "fine") == ("8.8.8.8",)


async def test_nothing_is_kept_of_a_tenant_afterwards() -> None:
    look_ups = LookUps(_Scripted())
    await look_ups.addresses(ACME, "fine")
    await _started(2)
    assert look_ups._running == {}


async def test_the_machines_own_resolver_gives_each_address_once() -> None:
    found = await SystemResolver().addresses("localhost")
    assert len(set(found)) == len(found) > 0
    assert set(found) <= {"127.0.0.1", "::1"}
