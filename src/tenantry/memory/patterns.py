"""Verified queries (MEM-1): a question of the tenant's and the SQL that is known to answer it.

Threat: a pattern is found by, or taught to, somebody outside its tenant. Rows and vectors of other
tenants do not exist in the transactions used here, so the nearest match is always one's own.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from tenantry.core.errors import Conflict, InvalidRequest, NotFound
from tenantry.core.events import AuditSink
from tenantry.core.ids import ConnectorId, TenantId, new_id
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database, Transaction
from tenantry.metering.ledger import Ledger
from tenantry.providers.base import Embedder

_SQL = load("tenantry.memory")
_QUESTION_LENGTHS = range(3, 1001)
_SQL_LENGTHS = range(1, 20_001)
_HIGHEST_VERSION = 2**31 - 1
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A verified query as one of its versions says; `owner` is the tenant that the row names."""

    owner: TenantId
    pattern_id: UUID
    connector_id: ConnectorId
    current_version: int
    version: int
    question: str
    sql: str
    embedder: str
    created_by: UUID
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Match:
    """The pattern nearest to a question, and the cosine similarity of the two questions."""

    pattern: Pattern
    similarity: float


class Patterns:
    """Teaches, versions and recalls verified queries, within one tenant at a time."""

    def __init__(self, db: Database, embedder: Embedder, ledger: Ledger, audit: AuditSink) -> None:
        self._db = db
        self._embedder = embedder
        self._ledger = ledger
        self._audit = audit

    async def add(self, ctx: TenantContext, connector_id: UUID, question: str, sql: str) -> Pattern:
        """A new verified query over a connector.

        Raises:
            NotFound: no such connector in this tenant.
            InvalidRequest: the question or the SQL is empty or too long.
        """
        wanted = await self._wanted(question, sql)
        pattern_id = new_id()
        try:
            async with self._db.tenant(ctx) as tx:
                await tx.execute(
                    _SQL["create_pattern"], pattern_id=pattern_id, connector_id=connector_id
                )
                return await self._add(tx, pattern_id, wanted, "pattern.created")
        except Conflict as error:
            raise NotFound from error  # the id is fresh: only the connector can be missing

    async def change(
        self, ctx: TenantContext, pattern_id: UUID, question: str, sql: str
    ) -> Pattern:
        """Add a version and make it the current one.

        Raises:
            NotFound: no such pattern in this tenant.
            InvalidRequest: the question or the SQL is empty or too long.
        """
        wanted = await self._wanted(question, sql)
        async with self._db.tenant(ctx) as tx:
            await _lock(tx, pattern_id)
            return await self._add(tx, pattern_id, wanted, "pattern.version_added")

    async def roll_back(self, ctx: TenantContext, pattern_id: UUID, version: int) -> Pattern:
        """Make an existing version the current one again.

        Raises:
            NotFound: no such pattern in this tenant, or no such version of it.
        """
        async with self._db.tenant(ctx) as tx:
            await _lock(tx, pattern_id)
            await _point(tx, pattern_id, version)
            current = await _get(tx, pattern_id)
            await self._record(ctx, "pattern.rolled_back", current)
        return current

    async def get(
        self, ctx: TenantContext, pattern_id: UUID, version: int | None = None
    ) -> Pattern:
        """A pattern at its current version, or at the given one.

        Raises:
            NotFound: no such pattern in this tenant, or no such version of it.
        """
        async with self._db.tenant(ctx) as tx:
            return await _get(tx, pattern_id, version)

    async def list_patterns(self, ctx: TenantContext, after: UUID, limit: int) -> list[Pattern]:
        """Patterns with ids after `after`, at their current versions, oldest first."""
        async with self._db.tenant(ctx) as tx:
            rows = await tx.rows(_SQL["list_patterns"], after=after, limit=limit)
        return [_pattern(row) for row in rows]

    async def remove(self, ctx: TenantContext, pattern_id: UUID) -> None:
        """Forget a pattern with all its versions.

        Raises:
            NotFound: no such pattern in this tenant.
        """
        async with self._db.tenant(ctx) as tx:
            await _lock(tx, pattern_id)
            gone = await _get(tx, pattern_id)
            await tx.execute(_SQL["delete_pattern"], pattern_id=pattern_id)
            await self._record(ctx, "pattern.removed", gone)

    async def match(self, ctx: TenantContext, question: str) -> Match | None:
        """The pattern nearest to `question`, however far; None when there is none to compare."""
        asked = _UNSTORABLE.sub("\ufffd", question)  # a model's words: not always valid text
        vector = await self._embedder.embed_query(asked)
        embedder = self._embedder.name
        tokens = await asyncio.to_thread(self._embedder.count_tokens, asked)
        async with self._db.tenant(ctx) as tx:
            row = await tx.row(_SQL["match_pattern"], embedding=_text(vector), embedder=embedder)
            await self._ledger.record_embedding(tx, embedder, tokens, "vector_search")
        if row is None:
            return None
        similarity = float(row.pop("similarity"))
        return Match(_pattern(row), similarity)

    async def _wanted(self, question: str, sql: str) -> dict[str, Any]:
        if len(question) not in _QUESTION_LENGTHS or len(sql) not in _SQL_LENGTHS:
            raise InvalidRequest(
                "A verified query has a question of 3 to 1,000 and SQL of 1 to 20,000 characters."
            )
        if _UNSTORABLE.search(question) or _UNSTORABLE.search(sql):
            raise InvalidRequest("The text contains characters that cannot be stored.")
        # As a query, not as a passage: it is questions that will be compared with it.
        vector = await self._embedder.embed_query(question)
        return {"question": question, "sql": sql, "embedding": _text(vector)}

    async def _add(
        self, tx: Transaction, pattern_id: UUID, wanted: dict[str, Any], action: str
    ) -> Pattern:
        embedder = self._embedder.name
        version = await tx.value(
            _SQL["add_pattern_version"],
            pattern_id=pattern_id,
            embedder=embedder,
            created_by=tx.ctx.actor.id,
            **wanted,
        )
        await _point(tx, pattern_id, version)
        tokens = await asyncio.to_thread(self._embedder.count_tokens, wanted["question"])
        await self._ledger.record_embedding(tx, embedder, tokens)
        added = await _get(tx, pattern_id)
        await self._record(tx.ctx, action, added)
        return added

    async def _record(self, ctx: TenantContext, action: str, about: Pattern) -> None:
        # Inside the transaction: a change that cannot be recorded does not happen.
        await self._audit.record(
            ctx.event(action, "allowed", "api", str(about.pattern_id), {"version": about.version})
        )


async def _get(tx: Transaction, pattern_id: UUID, version: int | None = None) -> Pattern:
    row = await tx.row(_SQL["get_pattern"], pattern_id=pattern_id, version=version)
    if row is None:
        raise NotFound
    return _pattern(row)


async def _lock(tx: Transaction, pattern_id: UUID) -> None:
    if await tx.row(_SQL["lock_pattern"], pattern_id=pattern_id) is None:
        raise NotFound


async def _point(tx: Transaction, pattern_id: UUID, version: int) -> None:
    in_range = 1 <= version <= _HIGHEST_VERSION
    if not in_range or not await tx.execute(
        _SQL["point_pattern"], pattern_id=pattern_id, version=version
    ):
        raise NotFound


def _pattern(row: Mapping[str, Any]) -> Pattern:
    return Pattern(**row)


def _text(vector: NDArray[np.float32]) -> str:
    """A vector as pgvector reads it."""
    return "[" + ",".join(format(float(x), ".7g") for x in vector) + "]"
