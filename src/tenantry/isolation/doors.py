"""Every role's way into the database (DB-5), each with no more rights than its work needs."""

from contextlib import AsyncExitStack
from dataclasses import dataclass

from tenantry.core.settings import Settings
from tenantry.db.pool import RolePool
from tenantry.db.store import Store
from tenantry.isolation.policies import refuse_broken_isolation
from tenantry.isolation.roles import refuse_unsafe_role
from tenantry.isolation.statements import RoleDatabase


@dataclass(frozen=True, slots=True)
class Doors:
    """The role pools of this process, opened together and closed in reverse.

    Attributes:
        app: serves tenants, through `Database.tenant` alone.
        auth: looks up credentials.
        audit: appends to the log.
        operator: keeps the directory.
        breakglass: reads one tenant under an open grant.
        ledger: adds rows to the ledger.
        queue: takes jobs from the queue, which crosses tenants; reads no tenant's rows.
    """

    app: RolePool
    auth: RoleDatabase
    audit: RoleDatabase
    operator: RoleDatabase
    breakglass: RolePool
    ledger: RoleDatabase
    queue: RolePool
    pools: tuple[RolePool, ...]

    @classmethod
    async def open(cls, stack: AsyncExitStack, settings: Settings, store: Store) -> "Doors":
        """Open a pool for each role; they close with `stack`."""
        secrets = store.secrets
        app, auth, audit, operator, breakglass, ledger, queue = pools = tuple(
            RolePool(
                store.url,
                f"tenantry_{role}",
                password,
                size,
                behind_pooler=settings.database_pooler == "transaction",
            )
            for role, password, size in (
                ("app", secrets.app_password, settings.pool_size),
                ("auth", secrets.auth_password, 5),
                ("audit", secrets.audit_password, 4),
                ("operator", secrets.operator_password, 4),
                ("breakglass", secrets.breakglass_password, 2),
                ("ledger", secrets.ledger_password, 2),
                ("queue", secrets.queue_password, 4),
            )
        )
        for pool in pools:
            await pool.open()
            stack.push_async_callback(pool.close)
        return cls(
            app=app,
            auth=RoleDatabase(auth),
            audit=RoleDatabase(audit),
            operator=RoleDatabase(operator),
            breakglass=breakglass,
            ledger=RoleDatabase(ledger),
            queue=queue,
            pools=pools,
        )

    async def refuse_if_unsafe(self) -> None:
        """Start only with roles that can do no more than they must, and with every policy whole.

        Raises:
            StartupRefused: with every objection (DB-1, DB-5).
        """
        for door, role in (
            (RoleDatabase(self.app), "tenantry_app"),
            (self.auth, "tenantry_auth"),
            (self.audit, "tenantry_audit"),
            (self.operator, "tenantry_operator"),
            (RoleDatabase(self.breakglass), "tenantry_breakglass"),
            (self.ledger, "tenantry_ledger"),
            (RoleDatabase(self.queue), "tenantry_queue"),
        ):
            async with door.autocommit() as statements:
                await refuse_unsafe_role(statements, role)
        async with self.operator.transaction() as statements:
            await refuse_broken_isolation(statements)
