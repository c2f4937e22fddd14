"""Group commit: durable on return, an outcome for each item, nothing lost and nothing held back."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenantry.core.errors import InvalidRequest, StoreUnavailable, TenantryError
from tenantry.core.group_commit import GroupCommit


class Store:
    """A store that can be slow, away, or unable to keep certain items."""

    def __init__(self) -> None:
        self.kept: list[int] = []
        self.groups: list[list[int]] = []
        self.free = asyncio.Event()
        self.free.set()
        self.error: BaseException | None = None

    async def write(self, items: Sequence[int]) -> list[int]:
        """Keep the items, all or none; each outcome is ten times the item."""
        await self.free.wait()
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        if any(item < 0 for item in items):
            raise InvalidRequest("cannot be stored")
        self.groups.append(list(items))
        self.kept += items
        return [item * 10 for item in items]


async def _settled(tasks: Sequence["asyncio.Task[int]"]) -> list[int | BaseException]:
    return await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.req("COST-3")
async def test_a_lone_item_is_written_at_once() -> None:
    store = Store()
    group = GroupCommit(store.write)
    assert await group.submit(7, "acme") == 70
    assert store.groups == [[7]]


@pytest.mark.req("COST-3")
async def test_what_arrives_during_a_commit_leaves_with_the_next() -> None:
    store = Store()
    group = GroupCommit(store.write)
    store.free.clear()
    tasks = [asyncio.create_task(group.submit(0, "acme"))]
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(group.submit(n, "acme")) for n in range(1, 6)]
    await asyncio.sleep(0)
    store.free.set()
    assert await _settled(tasks) == [0, 10, 20, 30, 40, 50]
    assert store.groups == [[0], [1, 2, 3, 4, 5]]


@pytest.mark.req("COST-3", "DB-1")
async def test_an_item_that_cannot_be_stored_fails_alone() -> None:
    store = Store()
    group = GroupCommit(store.write)
    tasks = [asyncio.create_task(group.submit(n, "acme")) for n in (1, -2, 3)]
    outcomes = await _settled(tasks)
    assert (outcomes[0], outcomes[2]) == (10, 30)
    assert isinstance(outcomes[1], InvalidRequest)


@pytest.mark.req("COST-3")
async def test_when_the_store_is_away_everybody_is_told_and_the_next_item_is_tried() -> None:
    store = Store()
    group = GroupCommit(store.write)
    store.error = StoreUnavailable()
    tasks = [asyncio.create_task(group.submit(n, "acme")) for n in (1, 2)]
    assert all(isinstance(each, StoreUnavailable) for each in await _settled(tasks))
    store.error = None
    assert await group.submit(3, "acme") == 30


@pytest.mark.req("COST-3")
async def test_a_full_queue_refuses_instead_of_growing() -> None:
    store = Store()
    group = GroupCommit(store.write, most_at_once=1, most_waiting=2)
    store.free.clear()
    tasks = []
    for n in range(3):  # one under way, two waiting
        tasks.append(asyncio.create_task(group.submit(n, "acme")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable):
        await group.submit(4, "acme")
    store.free.set()
    assert await _settled(tasks) == [0, 10, 20]


@pytest.mark.req("COST-3", "FAIR-1")
async def test_one_owners_flood_does_not_hold_up_its_neighbours_item() -> None:
    store = Store()
    group = GroupCommit(store.write, most_at_once=4)
    store.free.clear()
    flood = [asyncio.create_task(group.submit(n, "acme")) for n in range(100)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    neighbour = asyncio.create_task(group.submit(1000, "globex"))
    await asyncio.sleep(0)
    store.free.set()
    assert await neighbour == 10_000
    assert 1000 in store.groups[0] + store.groups[1]  # with the first that left after it came
    assert await _settled(flood) == [n * 10 for n in range(100)]
    assert [n for n in store.kept if n != 1000] == list(range(100))  # each owner's own order


@pytest.mark.req("COST-3", "FAIR-1")
async def test_one_owners_flood_fills_its_own_share_of_the_queue() -> None:
    store = Store()
    group = GroupCommit(store.write, most_at_once=1, most_waiting=8, most_waiting_each=4)
    store.free.clear()
    flood = []
    for n in range(40):  # one is under way, and as many wait as may
        flood.append(asyncio.create_task(group.submit(n, "acme")))
        await asyncio.sleep(0)
    neighbour = asyncio.create_task(group.submit(1000, "globex"))
    await asyncio.sleep(0)
    store.free.set()
    assert await neighbour == 10_000
    assert any(isinstance(each, StoreUnavailable) for each in await _settled(flood))


@pytest.mark.req("COST-3")
async def test_a_cancelled_submitters_item_is_written_all_the_same() -> None:
    store = Store()
    group = GroupCommit(store.write)
    store.free.clear()
    tasks = [asyncio.create_task(group.submit(n, "acme")) for n in (1, 2, 3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.sleep(0)
    store.free.set()
    async with asyncio.timeout(5):
        assert (await tasks[0], await tasks[2]) == (10, 30)
    await group.close()
    assert sorted(store.kept) == [1, 2, 3]


@pytest.mark.req("COST-3")
async def test_nobody_waits_for_ever_after_an_error_that_nobody_foresaw() -> None:
    store = Store()
    group = GroupCommit(store.write, most_at_once=1)
    store.error = ZeroDivisionError()
    tasks = [asyncio.create_task(group.submit(n, "acme")) for n in (1, 2)]
    assert all(isinstance(each, StoreUnavailable) for each in await _settled(tasks))
    store.error = None
    assert await group.submit(3, "acme") == 30


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.integers(-3, 50)),
        st.tuples(st.sampled_from(["yield", "hold", "free", "away", "back"]), st.just(0)),
        st.tuples(st.just("cancel"), st.integers(0, 50)),
    ),
    max_size=80,
)


@pytest.mark.req("COST-3")
@settings(deadline=None)
@given(STEPS, st.integers(1, 5))
def test_every_item_is_durable_or_its_submitter_was_told(
    steps: list[tuple[str, int]], most_at_once: int
) -> None:
    async def play() -> None:
        store = Store()
        group = GroupCommit(store.write, most_at_once=most_at_once)
        tasks: list[tuple[int, asyncio.Task[int]]] = []
        for step, value in steps:
            if step == "submit":
                item = len(tasks) * 100 + abs(value) if value >= 0 else -len(tasks) - 1
                tasks.append((item, asyncio.create_task(group.submit(item, len(tasks) % 3))))
            elif step == "cancel" and tasks:
                tasks[value % len(tasks)][1].cancel()
            elif step in {"hold", "free"}:
                getattr(store.free, "clear" if step == "hold" else "set")()
            elif step in {"away", "back"}:
                store.error = StoreUnavailable() if step == "away" else None
            else:
                await asyncio.sleep(0)
        store.free.set()
        outcomes = await _settled([task for _, task in tasks])
        await group.close()
        for (item, _), outcome in zip(tasks, outcomes, strict=True):
            if isinstance(outcome, int):
                assert outcome == item * 10
                assert store.kept.count(item) == 1
            elif isinstance(outcome, TenantryError):
                assert item not in store.kept
            else:
                assert isinstance(outcome, asyncio.CancelledError)
                assert store.kept.count(item) <= 1

    asyncio.run(play())
