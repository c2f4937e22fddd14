"""The kinds of work there are, and who does each."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from tenantry.jobs.attempt import Attempt
from tenantry.knowledge.ingest import INGEST
from tenantry.knowledge.reembedding import REEMBED
from tenantry.platform import Platform
from tenantry.vectors.shelves import INDEX

Handler = Callable[[Platform, Attempt], Awaitable[None]]
UPKEEP, STORAGE = "upkeep", "storage"


async def _ingest(platform: Platform, attempt: Attempt) -> None:
    await platform.ingestor.carry_out(attempt)


async def _reembed(platform: Platform, attempt: Attempt) -> None:
    await platform.reembedding.carry_out(attempt)


async def _upkeep(platform: Platform, attempt: Attempt) -> None:
    await platform.upkeep.tidy_tenant(attempt.ctx)
    await attempt.done()


async def _index(platform: Platform, attempt: Attempt) -> None:
    await platform.upkeep.tend_index(attempt.ctx)
    await attempt.done()


async def _storage(platform: Platform, attempt: Attempt) -> None:
    await platform.storage.record(attempt.ctx)
    await attempt.done()


HANDLERS: Mapping[str, Handler] = MappingProxyType(
    {INGEST: _ingest, REEMBED: _reembed, UPKEEP: _upkeep, INDEX: _index, STORAGE: _storage}
)
"""By kind, as it is signed into the queue."""
