"""Places are bounded in all and for each owner, and come back however they were left."""

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.connectors.slots import Slots

pytestmark = pytest.mark.req("CON-3")


@given(st.lists(st.sampled_from("abc"), max_size=40), st.data())
def test_the_bounds_hold_whoever_comes_and_leaves(owners: list[str], data: st.DataObject) -> None:
    cancelled = data.draw(st.sets(st.integers(0, 39)))
    asyncio.run(_crowd(owners, cancelled))


async def _crowd(owners: list[str], cancelled: set[int]) -> None:
    slots = Slots(4, 2)
    inside: list[str] = []
    served: list[str] = []

    async def visit(owner: str) -> None:
        async with slots.hold(owner):
            inside.append(owner)
            assert len(inside) <= 4
            assert inside.count(owner) <= 2
            try:
                await asyncio.sleep(0)
                served.append(owner)
            finally:
                inside.remove(owner)

    tasks = [asyncio.create_task(visit(owner)) for owner in owners]
    await asyncio.sleep(0)
    for number, task in enumerate(tasks):
        if number in cancelled:
            task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task
    kept = [owner for number, owner in enumerate(owners) if number not in cancelled]
    assert len(served) >= len(kept)
    async with asyncio.timeout(1), slots.hold("a"), slots.hold("a"), slots.hold("b"):
        await _enter(slots, "c")


async def test_one_owner_waits_while_another_is_served() -> None:
    slots = Slots(3, 2)
    async with slots.hold("greedy"), slots.hold("greedy"):
        waiting = asyncio.create_task(_enter(slots, "greedy"))
        await asyncio.sleep(0)
        async with asyncio.timeout(1), slots.hold("modest"):
            assert not waiting.done()
    await waiting


async def _enter(slots: Slots, owner: str) -> None:
    async with slots.hold(owner):
        pass
