"""Work that comes to its end, whoever stops waiting for it."""

import asyncio

import pytest

from tenantry.core.settling import to_its_end


async def test_the_result_is_given_and_an_error_raised_as_without_it() -> None:
    async def good() -> int:
        await asyncio.sleep(0)
        return 7

    async def bad() -> None:
        raise ValueError("no")

    assert await to_its_end(good()) == 7
    with pytest.raises(ValueError, match="no"):
        await to_its_end(bad())


@pytest.mark.parametrize("times", [1, 2, 5])
async def test_a_cancelled_caller_learns_of_it_once_the_work_is_done(times: int) -> None:
    done: list[str] = []

    async def work() -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        done.append("work")

    async def caller() -> None:
        try:
            await to_its_end(work())
        finally:
            done.append("caller")

    task = asyncio.create_task(caller())
    await asyncio.sleep(0)
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["work", "caller"]


async def test_an_error_of_the_work_is_the_cause_when_nobody_waits_any_more() -> None:
    async def work() -> None:
        await asyncio.sleep(0.01)
        raise ValueError("too late")

    task = asyncio.create_task(to_its_end(work()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await task
    assert isinstance(cancelled.value.__cause__, ValueError)


async def test_work_that_cancels_itself_is_cancelled() -> None:
    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await to_its_end(work())
