"""Notices of the database: what one process commits, every other hears (LISTEN and NOTIFY).

A notice only ever says that something remembered is to be forgotten. So a forged one costs a
look-up, and a lost one must be known to be lost: whoever remembers something asks `is_live`
first, and hears of every silence by `deaf`.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from tenantry.core.clock import Clock
from tenantry.core.errors import StoreUnavailable
from tenantry.db.queries import load
from tenantry.isolation.statements import RoleDatabase

_SQL = load("tenantry.isolation")
_LOG = logging.getLogger(__name__)
_PROBE_S = 1.0
_RETRY_S = 0.5
_LONGEST_SILENCE_S = 3.0


@dataclass(frozen=True, slots=True)
class Listener:
    """Who hears of one channel.

    Attributes:
        channel: name of the channel.
        listen: the statement that begins to listen on it.
        heard: called with the payload of each notice.
        deaf: called when notices may have been lost.
    """

    channel: str
    listen: bytes
    heard: Callable[[str], None]
    deaf: Callable[[], None]


class Notices:
    """Listens on one connection for as long as `run` runs."""

    def __init__(self, door: RoleDatabase, clock: Clock) -> None:
        self._door = door
        self._clock = clock
        self._listeners: dict[str, Listener] = {}
        self._alive_at: float | None = None

    def add(self, listener: Listener) -> None:
        """Let somebody hear of a channel; before `run`."""
        self._listeners[listener.channel] = listener

    def is_live(self) -> bool:
        """Whether every notice committed until some seconds ago has been heard."""
        alive_at = self._alive_at
        return alive_at is not None and self._clock.monotonic() - alive_at < _LONGEST_SILENCE_S

    async def run(self) -> None:
        """Listen until cancelled; a database that is away is tried again and again."""
        while True:
            try:
                await self._listen()
            except StoreUnavailable:
                _LOG.warning("notices_lost")
            finally:
                self._alive_at = None
            await asyncio.sleep(_RETRY_S)

    async def _listen(self) -> None:
        async with self._door.autocommit() as statements:
            for listener in self._listeners.values():
                await statements.execute(listener.listen)
                listener.deaf()  # what was remembered before is of a time nobody listened
            while True:
                self._alive_at = self._clock.monotonic()
                async for channel, payload in statements.notices(_PROBE_S):
                    self._listeners[channel].heard(payload)
                await statements.execute(_SQL["answer"])
