"""The kinds of work there are, and who does each."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from tenantry.jobs.attempt import Attempt
from tenantry.knowledge.ingest import INGEST
from tenantry.platform import Platform

Handler = Callable[[Platform, Attempt], Awaitable[None]]
UPKEEP = "upkeep"


async def _ingest(platform: Platform, attempt: Attempt) -> None:
    await platform.ingestor.carry_out(attempt)


async def _upkeep(platform: Platform, attempt: Attempt) -> None:
    # Each part is idempotent by itself, so a second attempt only finds less to do.
    await platform.upkeep.tidy_tenant(attempt.ctx)
    async with attempt.effect():
        pass


HANDLERS: Mapping[str, Handler] = MappingProxyType({INGEST: _ingest, UPKEEP: _upkeep})
"""By kind, as it is signed into the queue."""
