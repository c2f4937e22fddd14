"""Embedders for rooms that are put together by hand."""

from tenantry.core.clock import Clock
from tenantry.fairness.capacity import Capacity
from tenantry.fairness.records import Journal
from tenantry.isolation.transaction import Database
from tenantry.knowledge.embedders import Embedders, Route
from tenantry.providers.base import Embedder
from tenantry.providers.fair_embedder import FairEmbedder, processors_terms


def in_turns(embedder: Embedder, clock: Clock) -> FairEmbedder:
    """The embedder, in whose turns nobody else takes part."""
    return FairEmbedder(embedder, Capacity(processors_terms(), clock, Journal()))


def embedders(
    db: Database, embedder: Embedder, clock: Clock, route: Route | None = None
) -> Embedders:
    """A deployment's embedder, for tenants that may have chosen another."""
    return Embedders(db, in_turns(embedder, clock), route)
