"""Notices when one piece of work holds the event loop, and with it everybody, for too long.

What counts is the loop's own processor time: a machine that is busy with other things makes every
timer late, and nothing here is at fault then.
"""

import asyncio
import logging
import time

_LOG = logging.getLogger("tenantry.loop")
_EVERY_S = 0.02
TOO_LONG_S = 0.05


class LoopWatch:
    """Looks at one event loop, fifty times a second; each block that is too long goes to the log.

    Attributes:
        longest_s: the longest so far.
        blocks: how many were too long.
    """

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.blocks = 0
        self._timer: asyncio.TimerHandle | None = None
        self._due = self._worked_s = 0.0

    def start(self) -> None:
        """Look at the running loop from now on; `stop` ends it."""
        loop = asyncio.get_running_loop()
        self._due, self._worked_s = loop.time() + _EVERY_S, time.thread_time()
        self._timer = loop.call_later(_EVERY_S, self._look, loop)

    def stop(self) -> None:
        """Look no more, and say what was seen."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            _LOG.info("event_loop longest_ms=%d blocks=%d", self.longest_s * 1000, self.blocks)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        blocked_s = min(loop.time() - self._due, time.thread_time() - self._worked_s)
        self.longest_s = max(self.longest_s, blocked_s)
        if blocked_s > TOO_LONG_S:
            self.blocks += 1
            _LOG.warning("event_loop_blocked ms=%d", blocked_s * 1000)
        self.start()
