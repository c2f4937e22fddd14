"""Groups of a tenant's members, by which documents are restricted (SEC-6, VEC-2).

Threat: a member reads what is meant for others of its own organisation.
Invariant: who is in a group, and which groups may read what, is written by owners and admins alone,
in a transaction that the database knows for a keeper's, and looked up by the database at each
statement: leaving a group holds from the next one on (`db/migrations/0060_access_lists.sql`).
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from tenantry.core.errors import Conflict, InvalidRequest, NotFound
from tenantry.core.events import AuditSink
from tenantry.core.ids import new_id
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database, Transaction

_SQL = load("tenantry.security")
_MOST_GROUPS = 100
EVERYBODY = 0
"""The audience of what every member of the tenant may read."""
Row = dict[str, Any]


class Groups:
    """Keeps groups and their members, within one tenant at a time."""

    def __init__(self, db: Database, audit: AuditSink) -> None:
        self._db = db
        self._audit = audit

    async def create(self, ctx: TenantContext, name: str) -> Row:
        """Add a group without members.

        Raises:
            Conflict: the name is taken in this tenant.
            Forbidden: only an owner or admin keeps groups.
        """
        group_id = new_id()
        async with self._db.tenant(ctx, keeping=True) as tx:
            await tx.execute(_SQL["create_group"], group_id=group_id, name=name)
            await self._record(ctx, "group.created", group_id, {"name": name})
            return await _group(tx, group_id)

    async def list_groups(self, ctx: TenantContext, after: UUID, limit: int) -> list[Row]:
        """Groups with ids after `after`, oldest first.

        Raises:
            Forbidden: only an owner or admin keeps groups.
        """
        async with self._db.tenant(ctx, keeping=True) as tx:
            return await tx.rows(_SQL["list_groups"], after=after, limit=limit)

    async def list_members(
        self, ctx: TenantContext, group_id: UUID, after: UUID, limit: int
    ) -> list[Row]:
        """Members of a group with ids after `after`, oldest first.

        Raises:
            NotFound: no such group in this tenant.
            Forbidden: only an owner or admin keeps groups.
        """
        async with self._db.tenant(ctx, keeping=True) as tx:
            await _group(tx, group_id)
            return await tx.rows(
                _SQL["list_group_members"], group_id=group_id, after=after, limit=limit
            )

    async def add(self, ctx: TenantContext, group_id: UUID, member_id: UUID) -> None:
        """Put a member into a group; it may be there already.

        Raises:
            NotFound: no such group or member in this tenant.
            Forbidden: only an owner or admin keeps groups.
        """
        try:
            async with self._db.tenant(ctx, keeping=True) as tx:
                await tx.execute(_SQL["add_to_group"], group_id=group_id, member_id=member_id)
                await self._record(ctx, "group.member_added", group_id, {"member": str(member_id)})
        except Conflict as error:  # a foreign key: one of the two is not there
            raise NotFound from error

    async def remove(self, ctx: TenantContext, group_id: UUID, member_id: UUID) -> None:
        """Take a member out of a group, for its next statement on; it need not be in it.

        Raises:
            NotFound: no such group or member in this tenant.
            Forbidden: only an owner or admin keeps groups.
        """
        async with self._db.tenant(ctx, keeping=True) as tx:
            await _group(tx, group_id)
            if await tx.row(_SQL["get_member"], member_id=member_id) is None:
                raise NotFound
            await tx.execute(_SQL["remove_from_group"], group_id=group_id, member_id=member_id)
            await self._record(ctx, "group.member_removed", group_id, {"member": str(member_id)})

    async def delete(self, ctx: TenantContext, group_id: UUID) -> None:
        """Remove a group that restricts nothing any more.

        Raises:
            NotFound: no such group in this tenant.
            Conflict: there is a document, or a job that adds one, that it may read.
            Forbidden: only an owner or admin keeps groups.
        """
        async with self._db.tenant(ctx, keeping=True) as tx:
            group = await _group(tx, group_id)
            if await tx.value(_SQL["sweep_audiences"], group_id=group_id):
                raise Conflict("Documents are restricted to this group; change that first.")
            await tx.execute(_SQL["delete_group"], group_id=group_id)
            await self._record(ctx, "group.deleted", group_id, {"name": group["name"]})

    async def _record(
        self, ctx: TenantContext, action: str, group_id: UUID, detail: dict[str, Any]
    ) -> None:
        # Inside the transaction: a change that cannot be recorded does not happen.
        await self._audit.record(ctx.event(action, "allowed", "api", str(group_id), detail))


async def audience_of(tx: Transaction, names: Sequence[str]) -> int:
    """The audience of the groups of these names; of none, everybody.

    Raises:
        InvalidRequest: there is no such group, or, for whoever does not keep them, it is in none.
    """
    wanted = sorted(set(names))
    if len(wanted) > _MOST_GROUPS:
        raise InvalidRequest(f"A document is for at most {_MOST_GROUPS} groups.")
    rows = await tx.rows(_SQL["find_groups"], names=wanted)
    missing = sorted(set(wanted) - {row["name"] for row in rows})
    if missing:
        raise InvalidRequest(f"You have no group of this name: {', '.join(missing)}.")
    if not rows:
        return EVERYBODY
    found: int = await tx.value(_SQL["audience_of"], groups=[row["group_id"] for row in rows])
    return found


async def _group(tx: Transaction, group_id: UUID) -> Row:
    group = await tx.row(_SQL["get_group"], group_id=group_id)
    if group is None:
        raise NotFound
    return group
