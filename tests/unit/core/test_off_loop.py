"""A blocking resource is entered in a thread and always left, also when nobody waits any more."""

import asyncio
import tempfile
import threading
from types import TracebackType

import pytest

from tenantry.core.off_loop import off_loop

pytestmark = pytest.mark.req("CON-3")


class Resource:
    """Counts how often it is held, and lets a test decide when it is ready."""

    def __init__(self) -> None:
        self.held = 0
        self.threads: set[int] = set()
        self.ready = threading.Event()

    def __enter__(self) -> str:
        self.ready.wait(5)
        self.threads.add(threading.get_ident())
        self.held += 1
        return "value"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.held -= 1


async def test_it_is_entered_and_left_in_a_thread() -> None:
    resource = Resource()
    resource.ready.set()
    async with off_loop(resource) as value:
        assert (value, resource.held) == ("value", 1)
    assert resource.held == 0
    assert threading.get_ident() not in resource.threads


async def test_an_error_inside_the_block_leaves_it() -> None:
    resource = Resource()
    resource.ready.set()
    with pytest.raises(ZeroDivisionError):
        async with off_loop(resource):
            raise ZeroDivisionError
    assert resource.held == 0


async def test_an_error_while_entering_is_raised() -> None:
    with pytest.raises(NotADirectoryError):
        async with off_loop(tempfile.TemporaryDirectory(dir="/dev/null")):
            pytest.fail("entered")


async def test_cancelled_while_entering_it_is_left_as_soon_as_it_is_there() -> None:
    resource = Resource()

    async def use() -> None:
        async with off_loop(resource):
            pytest.fail("entered")

    task = asyncio.create_task(use())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    resource.ready.set()
    for _ in range(200):
        await asyncio.sleep(0.01)
        if resource.threads and resource.held == 0:
            return
    pytest.fail("still held")
