"""Tools that their server changed since they were accepted: out of use until accepted anew (SEC-3).

Threat: a server that changes a tool, is caught, and changes it back until nobody looks.
Invariant: what was suspended under an acceptance stays so; only another acceptance lifts it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tenantry.connectors.base import ConnectorConfig
from tenantry.core.events import AuditSink
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database

_SQL = load("tenantry.connectors")


@dataclass(frozen=True, slots=True)
class Suspensions:
    """Those of one connector, for one tenant.

    Attributes:
        db: where they are kept.
        audit: where each is recorded.
        ctx: whose connector it is.
        config: the connector.
        acceptance: under which its tools are in use.
    """

    db: Database
    audit: AuditSink
    ctx: TenantContext
    config: ConnectorConfig
    acceptance: str

    async def names(self) -> frozenset[str]:
        """Tools that are suspended."""
        async with self.db.tenant(self.ctx) as tx:
            rows = await tx.rows(
                _SQL["list_suspended"],
                connector_id=self.config.connector,
                acceptance=self.acceptance,
            )
        return frozenset(row["operation"] for row in rows)

    async def add(self, tools: Iterable[str]) -> None:
        """Suspend tools; each is recorded once.

        Raises:
            StoreUnavailable: it could not be recorded.
        """
        connector = self.config.connector
        async with self.db.tenant(self.ctx) as tx:
            await tx.execute(
                _SQL["forget_suspended"], connector_id=connector, acceptance=self.acceptance
            )
            for tool in tools:
                added = await tx.row(
                    _SQL["suspend_operation"],
                    connector_id=connector,
                    acceptance=self.acceptance,
                    operation=tool,
                )
                if added is not None:
                    await self._record(tool)

    async def _record(self, tool: str) -> None:
        # Inside the transaction: a suspension that is not recorded is tried again at the next look.
        detail = {"connector": self.config.name, "operation": tool}
        await self.audit.record(
            self.ctx.event("operation.suspended", "refused", "connector", tool, detail)
        )
