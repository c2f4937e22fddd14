"""The process lease: how another process knows that this one is gone, at once and for sure.

A process holds a PostgreSQL advisory lock for as long as it lives, on a session of its own, and
writes the lock's number into each intent. PostgreSQL frees the lock with the session, however the
process ends; then the sweeper can take it, and knows that nobody will settle those calls. A
heartbeat would have to choose between a long wait after a crash and sweeping the calls of a
process that was only slow.

If the session breaks while the process lives (PostgreSQL restarted), the lock is taken again as
soon as it answers. A call swept in between is no harm: its settle brings it to the real figures.

Behind a transaction-mode pooler there are no sessions to hold a lock on: use instance 0 there,
and calls of a dead process are swept when they expire.
"""

import asyncio
import contextlib
import logging
import secrets
from types import TracebackType

from tenantry.core.errors import StoreUnavailable
from tenantry.db.queries import load
from tenantry.isolation.statements import RoleDatabase

_SQL = load("tenantry.metering")
_LOG = logging.getLogger(__name__)
_PROBE_S = 2.0
_RETRY_S = 0.2


class ProcessLease:
    """Holds this process's advisory lock; use as an async context manager.

    Occupies one connection of the operator role for as long as it is open.
    """

    def __init__(self, operator: RoleDatabase) -> None:
        self._operator = operator
        self._held = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        # 62 random bits: never 0, positive in a bigint, and not a number anybody else would lock.
        self.instance = secrets.randbits(62) + 1

    async def __aenter__(self) -> "ProcessLease":
        """Take the lock; it is held on return.

        Raises:
            StoreUnavailable: PostgreSQL cannot be reached.
        """
        first = asyncio.get_running_loop().create_future()
        self._keeper = asyncio.create_task(self._keep(first), name="tenantry-process-lease")
        try:
            await first
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()

    @property
    def held(self) -> bool:
        """Whether the lock is held just now; False while PostgreSQL is away."""
        return self._held.is_set()

    async def wait_until_held(self) -> None:
        """Return as soon as the lock is held."""
        await self._held.wait()

    async def _stop(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None

    async def _keep(self, first: "asyncio.Future[None]") -> None:
        while True:
            try:
                await self._hold(first)
            except StoreUnavailable as error:
                self._held.clear()
                if not first.done():
                    first.set_exception(error)
                    return
                _LOG.warning("process_lease_lost", extra={"instance": self.instance})
                await asyncio.sleep(_RETRY_S)
            finally:
                self._held.clear()

    async def _hold(self, first: "asyncio.Future[None]") -> None:
        # Cancellation closes the connection (see RolePool), and with it goes the lock.
        async with self._operator.autocommit() as statements:
            if not await statements.value(_SQL["hold_instance"], instance=self.instance):
                raise StoreUnavailable  # a broken session of ours is not gone yet: try again
            self._held.set()
            if not first.done():
                first.set_result(None)
            while True:
                await asyncio.sleep(_PROBE_S)
                await statements.execute(_SQL["probe"])
