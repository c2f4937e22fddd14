"""Erasing what was deleted from the database's files, on record."""

import asyncio

from tenantry.core.events import AuditEvent, AuditSink, Json, Outcome
from tenantry.core.ids import PLATFORM
from tenantry.db.erase import Rewritten, erase


async def carry_out(audit: AuditSink, admin_url: str, wait_s: float) -> list[Rewritten]:
    """Erase, with an event in the platform's own chain before and after.

    Args:
        audit: the log.
        admin_url: address of the administrator.
        wait_s: for how long a table's lock is waited for.

    Raises:
        StoreUnavailable: the database cannot be reached as administrator, or gave up.
        Forbidden: its user is none.
    """
    await audit.record(_event("erase.started", "allowed"))
    try:
        done = await asyncio.to_thread(lambda: list(erase(admin_url, wait_s)))
    except Exception:
        await audit.record(_event("erase.ended", "failed"))
        raise
    left = {each.table: each.outcome for each in done if each.outcome != "erased"}
    detail: dict[str, Json] = {"tables": len(done), "left": left}
    await audit.record(_event("erase.ended", "failed" if left else "allowed", detail))
    return done


def _event(action: str, outcome: Outcome, detail: dict[str, Json] | None = None) -> AuditEvent:
    return AuditEvent(PLATFORM, "operator:local", action, outcome, "database", detail=detail or {})
