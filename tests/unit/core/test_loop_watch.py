"""The loop watch: work that holds the loop is seen, waiting is not."""

import asyncio
import time

from tenantry.core.loop_watch import TOO_LONG_S, LoopWatch


def work(seconds: float) -> None:
    """Use so much processor time, and let nobody else run."""
    began = time.thread_time()
    while time.thread_time() - began < seconds:
        pass


async def test_work_that_holds_the_loop_is_seen_and_waiting_is_not() -> None:
    watch = LoopWatch()
    watch.start()
    await asyncio.sleep(0.06)
    assert watch.blocks == 0
    work(2 * TOO_LONG_S + 0.03)
    await asyncio.sleep(0.03)
    watch.stop()
    assert watch.blocks == 1
    assert watch.longest_s > TOO_LONG_S
