"""What the queue says of a job, and whether to believe it.

The queue's rows cross tenants, so a worker takes nothing from them on trust: tenant, job, kind and
subject are one text with a MAC that `tenantry.release_jobs()` made in the tenant's own verified
context (`db/migrations/0032_jobs.sql`). Text: 64 hex digits of MAC, then
`job|key id|tenant|job|turn|pool|kind|subject`.
"""

from dataclasses import dataclass
from uuid import UUID

from tenantry.core.errors import BoundaryCrossed
from tenantry.core.ids import TenantId
from tenantry.isolation.signing import ContextSigner

_MAC = 64


@dataclass(frozen=True, slots=True)
class Payload:
    """A job as the database signed it."""

    tenant: TenantId
    job_id: UUID
    turn: int
    pool: str
    kind: str
    subject: str


def believed(signer: ContextSigner, payload: bytes, dedupe_key: str | None) -> Payload:
    """The payload of a row of the queue.

    Args:
        signer: holds the signing key.
        payload: as it stands in the queue.
        dedupe_key: the row's own: a genuine payload copied into another row is no job.

    Raises:
        BoundaryCrossed: nobody signed this, or not for this row.
    """
    text = payload.decode("utf-8", "replace")
    mac, body = text[:_MAC], text[_MAC:]
    if not signer.is_job(body, mac):
        raise BoundaryCrossed
    _, _, tenant, job, turn, pool, kind, subject = body.split("|", 7)
    found = Payload(TenantId(UUID(tenant)), UUID(job), int(turn), pool, kind, subject)
    if dedupe_key != f"{found.job_id}:{found.turn}":
        raise BoundaryCrossed
    return found


def named_tenant(payload: bytes) -> TenantId | None:
    """The tenant that a payload names, believed or not: whose log the refusal belongs into."""
    parts = payload[_MAC:].decode("utf-8", "replace").split("|")
    try:
        return TenantId(UUID(parts[2]))
    except (IndexError, ValueError):
        return None
