"""Lets model-written SQL through to a source, or refuses and records it (CON-3, SEC-4).

Threat: statements that take long to take apart, many at once, hold up every tenant's queries.
Invariant: one tenant's statements are read one after the other, those of several side by side.
"""

import asyncio

from tenantry.connectors.base import ConnectorConfig
from tenantry.connectors.slots import Slots
from tenantry.connectors.sql_guard import Approved, Refused, Scope, check
from tenantry.core.errors import QueryRefused
from tenantry.core.events import AuditEvent, AuditSink
from tenantry.isolation.context import TenantContext

_READ_AT_ONCE, _READ_AT_ONCE_PER_TENANT = 4, 1


def reading_places() -> Slots:
    """Places in which statements are read; shared by everything that calls `admit`."""
    return Slots(_READ_AT_ONCE, _READ_AT_ONCE_PER_TENANT)


async def admit(
    ctx: TenantContext,
    audit: AuditSink,
    reading: Slots,
    config: ConnectorConfig,
    sql: str,
    scope: Scope,
) -> Approved:
    """The statement as it may run.

    Whatever reaches outside the connector's scope is recorded with the name it reached for; a
    mistake that cannot even be read is only answered.

    Raises:
        QueryRefused: it may not; the message helps to mend it.
        StoreUnavailable: the refusal could not be recorded.
    """
    async with reading.hold(ctx.tenant):
        decided = await asyncio.to_thread(check, sql, scope)
    if isinstance(decided, Approved):
        return decided
    if decided.reason != "syntax":
        await audit.record(_refusal(ctx, config, decided))
    raise QueryRefused(decided.message)


def _refusal(ctx: TenantContext, config: ConnectorConfig, refused: Refused) -> AuditEvent:
    return ctx.event(
        "query.refused",
        "refused",
        "connector",
        refused.subject,
        {
            "connector": config.name,
            "reason": refused.reason,
            refused.reason: refused.subject,
        },
    )
