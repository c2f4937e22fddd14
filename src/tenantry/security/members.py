"""Members of a tenant and their API keys (SEC-6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from tenantry.core.clock import Clock
from tenantry.core.errors import Conflict, Forbidden, InvalidRequest, NotFound
from tenantry.core.events import AuditSink
from tenantry.core.ids import KeyId, MemberId, new_id
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database, Transaction
from tenantry.security.keys import ApiKey
from tenantry.security.scopes import ROLE_SCOPES, scopes_for_key
from tenantry.security.standing import Standing

_SQL = load("tenantry.security")
_LONGEST_OVERLAP = timedelta(days=7)
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just issued: the only moment at which its secret can be read."""

    key_id: KeyId
    key: ApiKey
    scopes: frozenset[str]
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """What a new key shall be; `scopes` None means all of the member's role."""

    name: str
    member: MemberId
    scopes: tuple[str, ...] | None = None
    expires_in: timedelta | None = None


@dataclass(frozen=True, slots=True)
class MemberChange:
    """New values of a member; None leaves as is."""

    role: str | None = None
    status: str | None = None
    display_name: str | None = None


class Members:
    """Creates, changes and lists members and keys, within one tenant at a time."""

    def __init__(
        self, db: Database, pepper: bytes, audit: AuditSink, standing: Standing, clock: Clock
    ) -> None:
        self._db = db
        self._pepper = pepper
        self._audit = audit
        self._standing = standing
        self._clock = clock

    async def create(
        self, ctx: TenantContext, external_id: str, role: str, display_name: str = ""
    ) -> Row:
        """Add a member, known to the SaaS company as `external_id`.

        Raises:
            Conflict: the external id is taken in this tenant.
            Forbidden: only an owner, or the operator provisioning, makes an owner.
        """
        _require_standing(ctx, role)
        member_id = MemberId(new_id())
        async with self._db.tenant(ctx, keeping=True) as tx:
            await tx.execute(
                _SQL["create_member"],
                member_id=member_id,
                external_id=external_id,
                display_name=display_name,
                role=role,
            )
            member = await _member(tx, member_id)
        await self._record(ctx, "member.created", str(member_id), {"role": role})
        return member

    async def list_members(self, ctx: TenantContext, after: UUID, limit: int) -> list[Row]:
        """Members with ids after `after`, oldest first."""
        async with self._db.tenant(ctx) as tx:
            return await tx.rows(_SQL["list_members"], after=after, limit=limit)

    async def get(self, ctx: TenantContext, member_id: UUID) -> Row:
        """One member.

        Raises:
            NotFound: no such member in this tenant.
        """
        async with self._db.tenant(ctx) as tx:
            return await _member(tx, member_id)

    async def find(self, ctx: TenantContext, external_id: str) -> Row | None:
        """The member with this external id, or None."""
        async with self._db.tenant(ctx) as tx:
            return await tx.row(_SQL["get_member_by_external_id"], external_id=external_id)

    async def change(self, ctx: TenantContext, member_id: UUID, change: MemberChange) -> Row:
        """Change role, standing or name.

        Raises:
            NotFound: no such member in this tenant.
            Forbidden: an owner is touched by somebody who is none.
            Conflict: the tenant would be left without an active owner.
        """
        async with self._db.tenant(ctx, keeping=True) as tx:
            before = await _member(tx, member_id)
            _require_standing(ctx, before["role"])
            _require_standing(ctx, change.role or before["role"])
            after = await tx.row(
                _SQL["update_member"],
                member_id=member_id,
                role=change.role,
                status=change.status,
                display_name=change.display_name,
            )
            await _keep_an_owner(tx)
        self._standing.forget(ctx.tenant)
        detail = {"role": change.role, "status": change.status}
        await self._record(ctx, "member.changed", str(member_id), detail)
        return after or before

    async def delete(self, ctx: TenantContext, member_id: UUID) -> None:
        """Remove a member with its keys and conversations.

        Raises:
            NotFound: no such member in this tenant.
            Forbidden: an owner is touched by somebody who is none.
            Conflict: the tenant would be left without an active owner.
        """
        async with self._db.tenant(ctx, keeping=True) as tx:
            before = await _member(tx, member_id)
            _require_standing(ctx, before["role"])
            await tx.execute(_SQL["delete_member"], member_id=member_id)
            await _keep_an_owner(tx)
        self._standing.forget(ctx.tenant)
        await self._record(ctx, "member.deleted", str(member_id), {})

    async def create_key(self, ctx: TenantContext, wanted: KeyRequest) -> NewKey:
        """Issue a key to a member.

        Raises:
            NotFound: no such member in this tenant.
            Forbidden: a scope beyond the member's role, or beyond the one who asks.
            InvalidRequest: an unknown scope, or an end that is not in the future.
        """
        if wanted.expires_in is not None and wanted.expires_in <= timedelta(0):
            raise InvalidRequest("A key must end in the future.")
        key, key_id = ApiKey.generate("live"), KeyId(new_id())
        expires_at = self._clock.now() + wanted.expires_in if wanted.expires_in else None
        async with self._db.tenant(ctx, keeping=True) as tx:
            member = await _member(tx, wanted.member)
            _require_standing(ctx, member["role"])
            scopes = _within(ctx, scopes_for_key(member["role"], wanted.scopes), wanted.scopes)
            await tx.execute(
                _SQL["create_key"],
                key_id=key_id,
                member_id=wanted.member,
                public_id=key.public_id,
                digest=key.digest(self._pepper),
                name=wanted.name,
                scopes=sorted(scopes),
                expires_at=expires_at,
            )
        await self._record(ctx, "key.created", str(key_id), {"scopes": sorted(scopes)})
        return NewKey(key_id, key, scopes, expires_at)

    async def list_keys(self, ctx: TenantContext, after: UUID, limit: int) -> list[Row]:
        """Keys with ids after `after`, oldest first; never their secrets."""
        async with self._db.tenant(ctx) as tx:
            return await tx.rows(_SQL["list_keys"], after=after, limit=limit)

    async def revoke_key(self, ctx: TenantContext, key_id: UUID) -> None:
        """End a key now; ending it twice is no error.

        Raises:
            NotFound: no such key in this tenant.
        """
        async with self._db.tenant(ctx, keeping=True) as tx:
            await self._manageable_key(tx, ctx, key_id)
            await tx.execute(_SQL["revoke_key"], key_id=key_id, at=self._clock.now())
        self._standing.forget(ctx.tenant)
        await self._record(ctx, "key.revoked", str(key_id), {})

    async def rotate_key(self, ctx: TenantContext, key_id: UUID, overlap: timedelta) -> NewKey:
        """Issue a successor with the same name, member, scopes and end; the old one ends later.

        Args:
            ctx: the tenant.
            key_id: the key to replace.
            overlap: how long both work, so that clients can change over; at most 7 days.

        Raises:
            NotFound: no such key in this tenant.
            InvalidRequest: the overlap is out of range, or the key has already ended.
            Forbidden: the key has a scope that the one who asks lacks.
        """
        if not timedelta(0) <= overlap <= _LONGEST_OVERLAP:
            raise InvalidRequest("The overlap must be between 0 and 7 days.")
        key, new_key_id = ApiKey.generate("live"), KeyId(new_id())
        now = self._clock.now()
        async with self._db.tenant(ctx, keeping=True) as tx:
            old = await self._manageable_key(tx, ctx, key_id)
            if any(
                old[end] is not None and old[end] <= now for end in ("revoked_at", "expires_at")
            ):
                raise InvalidRequest("This key has already ended.")
            scopes = _within(ctx, frozenset(old["scopes"]), old["scopes"])
            await tx.execute(
                _SQL["create_key"],
                key_id=new_key_id,
                member_id=old["member_id"],
                public_id=key.public_id,
                digest=key.digest(self._pepper),
                name=old["name"],
                scopes=sorted(scopes),
                expires_at=old["expires_at"],
            )
            await tx.execute(_SQL["revoke_key"], key_id=key_id, at=now + overlap)
        self._standing.forget(ctx.tenant)
        await self._record(ctx, "key.rotated", str(key_id), {"successor": str(new_key_id)})
        return NewKey(new_key_id, key, scopes, old["expires_at"])

    async def _manageable_key(self, tx: Transaction, ctx: TenantContext, key_id: UUID) -> Row:
        key = await tx.row(_SQL["get_key"], key_id=key_id)
        if key is None:
            raise NotFound
        _require_standing(ctx, (await _member(tx, key["member_id"]))["role"])
        return key

    async def _record(
        self, ctx: TenantContext, action: str, target: str, detail: dict[str, Any]
    ) -> None:
        await self._audit.record(ctx.event(action, "allowed", "api", target, detail))


async def _member(tx: Transaction, member_id: UUID) -> Row:
    member = await tx.row(_SQL["get_member"], member_id=member_id)
    if member is None:
        raise NotFound
    return member


async def _keep_an_owner(tx: Transaction) -> None:
    if await tx.value(_SQL["count_active_owners"]) == 0:
        raise Conflict("A tenant needs at least one active owner.")


def _require_standing(ctx: TenantContext, role: str) -> None:
    """Nobody grants or touches more than the role they hold."""
    if ctx.actor.kind == "operator" or ctx.actor.role == "owner":
        return
    if role == "owner" or not ROLE_SCOPES[role] <= ROLE_SCOPES[ctx.actor.role]:
        raise Forbidden("This needs a role at least as high as the one concerned.")


def _within(
    ctx: TenantContext, scopes: frozenset[str], named: Sequence[str] | None
) -> frozenset[str]:
    """A narrowed key makes no wider one: what is named must be held, what is not is narrowed.

    Raises:
        Forbidden: a scope was named that the one who asks lacks.
    """
    if ctx.actor.kind == "operator":
        return scopes
    if named is not None and not scopes <= ctx.scopes:
        beyond = ", ".join(sorted(scopes - ctx.scopes))
        raise Forbidden(f"Your own credential lacks what this key would have: {beyond}.")
    return scopes & ctx.scopes
