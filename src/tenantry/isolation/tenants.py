"""The directory of tenants: what operators keep, without access to any tenant's content (DB-5)."""

import re
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import DictRow

from tenantry.core.errors import Conflict, InvalidRequest, NotFound
from tenantry.core.ids import TenantId, new_id
from tenantry.db.queries import load
from tenantry.isolation.statements import RoleDatabase

_SQL = load("tenantry.isolation")
_NAME = re.compile(r"^[a-z0-9][a-z0-9-]{0,62}$", re.ASCII)


@dataclass(frozen=True, slots=True)
class Tenant:
    """A customer organisation.

    Attributes:
        id: its id.
        name: unique among tenants.
        status: `active` or `suspended`.
        weight: beside others, where turns are taken; 1 unless set.
        created_at: when it was created.
    """

    id: TenantId
    name: str
    status: str
    weight: float
    created_at: datetime


class TenantDirectory:
    """Creates, finds and suspends tenants, as the operator role."""

    def __init__(self, door: RoleDatabase) -> None:
        self._door = door

    async def create(self, name: str) -> Tenant:
        """A new, empty tenant.

        Raises:
            InvalidRequest: the name is not 1 to 63 lower-case letters, digits and hyphens.
            Conflict: the name is taken.
        """
        if not _NAME.match(name):
            raise InvalidRequest(
                "A tenant's name has 1 to 63 lower-case letters, digits and hyphens."
            )
        async with self._door.transaction() as statements:
            await statements.value(_SQL["lock_directory"])
            if await statements.row(_SQL["find_tenant"], name=name) is not None:
                raise Conflict(f"There already is a tenant named '{name}'.")
            row = await statements.row(_SQL["create_tenant"], tenant_id=new_id(), name=name)
        return as_tenant(row)

    async def get(self, tenant_id: UUID) -> Tenant:
        """One tenant.

        Raises:
            NotFound: there is none with this id.
        """
        async with self._door.autocommit() as statements:
            return as_tenant(await statements.row(_SQL["get_tenant"], tenant_id=tenant_id))

    async def find(self, name: str) -> Tenant:
        """The tenant of this name.

        Raises:
            NotFound: there is none.
        """
        async with self._door.autocommit() as statements:
            return as_tenant(await statements.row(_SQL["find_tenant"], name=name))

    async def list_tenants(self, after: UUID, limit: int) -> list[Tenant]:
        """Tenants with ids after `after`, oldest first."""
        async with self._door.autocommit() as statements:
            rows = await statements.rows(_SQL["list_tenants"], after=after, limit=limit)
        return [as_tenant(row) for row in rows]

    async def set_status(self, tenant_id: UUID, status: str) -> Tenant:
        """Suspend (`suspended`) or reinstate (`active`); holds from the next request on.

        Raises:
            NotFound: there is none with this id.
            InvalidRequest: the status does not exist.
        """
        if status not in {"active", "suspended"}:
            raise InvalidRequest("A tenant is 'active' or 'suspended'.")
        async with self._door.autocommit() as statements:
            row = await statements.row(
                _SQL["set_tenant_status"], tenant_id=tenant_id, status=status
            )
        return as_tenant(row)


def as_tenant(row: DictRow | None) -> Tenant:
    """The tenant of a row.

    Raises:
        NotFound: there is no row.
    """
    if row is None:
        raise NotFound
    return Tenant(
        TenantId(row["tenant_id"]), row["name"], row["status"], row["weight"], row["created_at"]
    )
