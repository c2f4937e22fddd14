"""Operators and their keys: the people and the SaaS backend that run the platform (SEC-6)."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from tenantry.core.clock import Clock
from tenantry.core.errors import InvalidRequest, NotFound
from tenantry.core.events import AuditEvent, AuditSink
from tenantry.core.ids import PLATFORM, new_id
from tenantry.db.queries import load
from tenantry.isolation.statements import RoleDatabase
from tenantry.security.keys import ApiKey
from tenantry.security.scopes import OPERATOR_SCOPES, USUAL_OPERATOR_SCOPES

_SQL = load("tenantry.security")


class Operators:
    """Issues and revokes operator keys; used by the command line on the platform's own machine."""

    def __init__(self, door: RoleDatabase, pepper: bytes, audit: AuditSink, clock: Clock) -> None:
        self._door = door
        self._pepper = pepper
        self._audit = audit
        self._clock = clock

    async def create_key(self, name: str, scopes: Iterable[str] = USUAL_OPERATOR_SCOPES) -> ApiKey:
        """A new operator with one key; its secret can be read only now.

        Raises:
            InvalidRequest: a scope does not exist.
        """
        chosen = frozenset(scopes)
        if chosen - OPERATOR_SCOPES:
            raise InvalidRequest(f"Unknown scopes: {', '.join(sorted(chosen - OPERATOR_SCOPES))}.")
        key, key_id, operator_id = ApiKey.generate("operator"), new_id(), new_id()
        async with self._door.transaction() as statements:
            await statements.execute(_SQL["create_operator"], operator_id=operator_id, name=name)
            await statements.execute(
                _SQL["create_operator_key"],
                key_id=key_id,
                operator_id=operator_id,
                public_id=key.public_id,
                digest=key.digest(self._pepper),
                name=name,
                scopes=sorted(chosen),
                expires_at=None,
            )
        await self._record("operator_key.created", key_id)
        return key

    async def list_keys(self) -> list[dict[str, Any]]:
        """Every operator key; never its secret."""
        async with self._door.autocommit() as statements:
            return await statements.rows(_SQL["list_operator_keys"])

    async def revoke_key(self, key_id: UUID) -> None:
        """End an operator key now.

        Raises:
            NotFound: no such live key.
        """
        async with self._door.autocommit() as statements:
            touched = await statements.execute(
                _SQL["revoke_operator_key"], key_id=key_id, now=self._clock.now()
            )
        if not touched:
            raise NotFound
        await self._record("operator_key.revoked", key_id)

    async def _record(self, action: str, key_id: UUID) -> None:
        event = AuditEvent(PLATFORM, "operator:local", action, "allowed", "api", str(key_id))
        await self._audit.record(event)
