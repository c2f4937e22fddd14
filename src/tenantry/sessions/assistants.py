"""Versioned assistants (CTX-1): what a tenant's AI is told, with which model and tools.

Versions are only ever added. The current one is a pointer, so that going back to an old version
changes nothing that was written.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from tenantry.core.errors import Conflict, InvalidRequest, NotFound
from tenantry.core.events import AuditSink, Json
from tenantry.core.ids import AssistantId, TenantId, new_id
from tenantry.core.storable import is_storable
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database, Transaction

_SQL = load("tenantry.sessions")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_LONGEST_INSTRUCTIONS = 20_000
_LONGEST_MODEL = 200
_NEWEST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Settings of a version; None is the platform's default.

    Attributes:
        temperature: 0 to 2.
        max_output_tokens: the most one model call may produce.
        max_steps: model calls in one answer, at most; never above the platform's own ceiling.
    """

    temperature: float | None = None
    max_output_tokens: int | None = None
    max_steps: int | None = None

    @classmethod
    def read(cls, settings: Mapping[str, Json]) -> "Behaviour":
        """The settings of a version as typed values.

        Raises:
            InvalidRequest: a setting is unknown or out of range.
        """
        unknown = sorted(settings.keys() - _RANGES.keys())
        if unknown:
            raise InvalidRequest(f"Unknown setting '{unknown[0]}'. Known: {', '.join(_RANGES)}.")
        for name, value in settings.items():
            kinds, low, high = _RANGES[name]
            # A bool is an int to Python, and NaN is below and above nothing.
            if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
                raise InvalidRequest(f"The setting '{name}' must be from {low} to {high}.")
        return cls(**settings)  # type: ignore[arg-type]  # each value was checked against its range


_RANGES: Mapping[str, tuple[type[int] | tuple[type[int], type[float]], int, int]] = {
    "temperature": ((int, float), 0, 2),
    "max_output_tokens": (int, 1, 1_000_000),
    "max_steps": (int, 1, 100),
}


@dataclass(frozen=True, slots=True)
class Draft:
    """What a version shall say: complete, nothing is taken over from the one before.

    Attributes:
        instructions: the tenant's own words to the model, trusted; at most 20,000 characters.
        model: name of a model route, such as `keyless` or `openai/gpt-5-mini`.
        tools: names of the tools it may use; None is all of them.
        settings: see `Behaviour`.
    """

    instructions: str
    model: str
    tools: Sequence[str] | None = None
    settings: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, weakref_slot=True)
class AssistantVersion:
    """An assistant as one of its versions says; `owner` is the tenant that the row names."""

    owner: TenantId
    assistant_id: AssistantId
    name: str
    current_version: int
    version: int
    instructions: str = field(repr=False)
    model: str
    tools: tuple[str, ...]
    settings: Mapping[str, Json]
    created_by: UUID
    created_at: datetime

    @property
    def behaviour(self) -> Behaviour:
        """The settings as typed values."""
        return Behaviour.read(self.settings)


class Assistants:
    """Creates, versions and finds assistants, within one tenant at a time."""

    def __init__(self, db: Database, audit: AuditSink, known_tools: Sequence[str]) -> None:
        self._db = db
        self._audit = audit
        self._tools = tuple(known_tools)

    async def create(self, ctx: TenantContext, name: str, draft: Draft) -> AssistantVersion:
        """A new assistant with its first version.

        Raises:
            InvalidRequest: the name or the draft is not valid.
            Conflict: the name is taken in this tenant.
        """
        if not _NAME.fullmatch(name):
            raise InvalidRequest(
                "An assistant's name has 1 to 63 lower-case letters, digits and hyphens."
            )
        assistant_id = AssistantId(new_id())
        try:
            async with self._db.tenant(ctx) as tx:
                await tx.execute(_SQL["create_assistant"], assistant_id=assistant_id, name=name)
                created = await self._add(tx, assistant_id, draft)
                await self._record(ctx, "assistant.created", created)
        except Conflict as error:
            raise Conflict(f"There already is an assistant named '{name}'.") from error
        return created

    async def add_version(
        self, ctx: TenantContext, assistant_id: UUID, draft: Draft
    ) -> AssistantVersion:
        """Add a version and make it the current one.

        Raises:
            NotFound: no such assistant in this tenant.
            InvalidRequest: the draft is not valid.
        """
        async with self._db.tenant(ctx) as tx:
            await _lock(tx, assistant_id)
            added = await self._add(tx, assistant_id, draft)
            await self._record(ctx, "assistant.version_added", added)
        return added

    async def roll_back(
        self, ctx: TenantContext, assistant_id: UUID, version: int
    ) -> AssistantVersion:
        """Make an existing version the current one again.

        Raises:
            NotFound: no such assistant in this tenant, or no such version of it.
        """
        async with self._db.tenant(ctx) as tx:
            await _lock(tx, assistant_id)
            await _point(tx, assistant_id, version)
            current = await _get(tx, assistant_id)
            await self._record(ctx, "assistant.rolled_back", current)
        return current

    async def get(
        self, ctx: TenantContext, assistant_id: UUID, version: int | None = None
    ) -> AssistantVersion:
        """An assistant at its current version, or at the given one.

        Raises:
            NotFound: no such assistant in this tenant, or no such version of it.
        """
        async with self._db.tenant(ctx) as tx:
            return await _get(tx, assistant_id, version)

    async def find(
        self, ctx: TenantContext, name: str, version: int | None = None
    ) -> AssistantVersion:
        """As `get`, by name.

        Raises:
            NotFound: no such assistant in this tenant, or no such version of it.
        """
        async with self._db.tenant(ctx) as tx:
            return await find_assistant(tx, name, version)

    async def list_assistants(
        self, ctx: TenantContext, after: UUID, limit: int
    ) -> list[AssistantVersion]:
        """Assistants with ids after `after`, at their current versions, oldest first."""
        async with self._db.tenant(ctx) as tx:
            rows = await tx.rows(_SQL["list_assistants"], after=after, limit=limit)
        return [_version(row) for row in rows]

    async def list_versions(
        self, ctx: TenantContext, assistant_id: UUID, before: int = _NEWEST, limit: int = 100
    ) -> list[AssistantVersion]:
        """Versions of an assistant numbered below `before`, newest first.

        Raises:
            NotFound: no such assistant in this tenant.
        """
        async with self._db.tenant(ctx) as tx:
            await _get(tx, assistant_id)
            rows = await tx.rows(
                _SQL["list_assistant_versions"],
                assistant_id=assistant_id,
                before=before,
                limit=limit,
            )
        return [_version(row) for row in rows]

    async def delete(self, ctx: TenantContext, assistant_id: UUID) -> None:
        """Remove an assistant with all its versions and conversations.

        Raises:
            NotFound: no such assistant in this tenant.
        """
        async with self._db.tenant(ctx) as tx:
            await _lock(tx, assistant_id)
            gone = await _get(tx, assistant_id)
            await tx.execute(_SQL["delete_assistant"], assistant_id=assistant_id)
            await self._record(ctx, "assistant.deleted", gone)

    async def _add(self, tx: Transaction, assistant_id: UUID, draft: Draft) -> AssistantVersion:
        tools = self._checked(draft)
        version = await tx.value(
            _SQL["add_assistant_version"],
            assistant_id=assistant_id,
            instructions=draft.instructions,
            model=draft.model,
            tools=tools,
            settings=Jsonb(dict(draft.settings)),
            created_by=tx.ctx.actor.id,
        )
        await _point(tx, assistant_id, version)
        return await _get(tx, assistant_id)

    def _checked(self, draft: Draft) -> list[str]:
        if len(draft.instructions) > _LONGEST_INSTRUCTIONS:
            raise InvalidRequest("The instructions have at most 20,000 characters.")
        if not 1 <= len(draft.model) <= _LONGEST_MODEL:
            raise InvalidRequest("A model's name has 1 to 200 characters.")
        if not (is_storable(draft.instructions) and is_storable(draft.model)):
            raise InvalidRequest("The text contains characters that cannot be stored.")
        Behaviour.read(draft.settings)
        wanted = self._tools if draft.tools is None else tuple(draft.tools)
        unknown = [tool for tool in wanted if tool not in self._tools]
        if unknown:
            raise InvalidRequest(f"There is no such tool. Known: {', '.join(self._tools)}.")
        return list(dict.fromkeys(wanted))

    async def _record(self, ctx: TenantContext, action: str, about: AssistantVersion) -> None:
        # Inside the transaction: a change that cannot be recorded does not happen.
        await self._audit.record(
            ctx.event(
                action,
                "allowed",
                "api",
                str(about.assistant_id),
                {"name": about.name, "version": about.version, "model": about.model},
            )
        )


async def find_assistant(
    tx: Transaction, name: str, version: int | None = None
) -> AssistantVersion:
    """The assistant called `name`, inside the caller's transaction.

    Raises:
        NotFound: no such assistant in this tenant, or no such version of it.
    """
    if not is_storable(name):
        raise NotFound
    row = await tx.row(_SQL["find_assistant"], name=name, version=version)
    if row is None:
        raise NotFound
    return _version(row)


async def _get(tx: Transaction, assistant_id: UUID, version: int | None = None) -> AssistantVersion:
    row = await tx.row(_SQL["get_assistant"], assistant_id=assistant_id, version=version)
    if row is None:
        raise NotFound
    return _version(row)


async def _lock(tx: Transaction, assistant_id: UUID) -> None:
    if await tx.row(_SQL["lock_assistant"], assistant_id=assistant_id) is None:
        raise NotFound


async def _point(tx: Transaction, assistant_id: UUID, version: int) -> None:
    in_range = 1 <= version <= _NEWEST
    if not in_range or not await tx.execute(
        _SQL["point_assistant"], assistant_id=assistant_id, version=version
    ):
        raise NotFound


def _version(row: Mapping[str, Any]) -> AssistantVersion:
    return AssistantVersion(**{**row, "tools": tuple(row["tools"])})
