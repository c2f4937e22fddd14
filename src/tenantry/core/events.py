"""What lower rooms report upwards: frozen records, handed to a sink that the platform supplies.

An event never carries a secret or the text of a prompt; digests and counts only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from tenantry.core.ids import TenantId

Json = str | int | float | bool | None | Sequence["Json"] | Mapping[str, "Json"]
"""A JSON value, as far as Python's types can say it."""

Outcome = Literal["allowed", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One line of the audit log (SEC-4).

    Attributes:
        tenant: whose chain the event belongs to; `ids.PLATFORM` when no tenant is known.
        actor: who did it, as `kind:id` (`member:0192…`, `operator:…`, `anonymous`).
        action: stable verb, dotted (`key.created`, `tool.argument_refused`, `model.called`).
        outcome: `refused` is an attempt that was blocked.
        layer: the layer that decided: api, database, pool, vector, cache, tool, connector, model…
        target: what it was about, as the caller named it; stored as a keyed hash, never in clear.
        detail: facts that help an investigator; no content, no secrets.
        request_id: the request it happened in, or empty.
    """

    tenant: TenantId
    actor: str
    action: str
    outcome: Outcome
    layer: str
    target: str = ""
    detail: Mapping[str, Json] = field(default_factory=dict)
    request_id: str = ""


class AuditSink(Protocol):
    """Where audit events go; durable when `record` returns."""

    async def record(self, event: AuditEvent) -> None:
        """Append the event to its tenant's chain.

        Raises:
            StoreUnavailable: the log cannot be written; the caller must then refuse its work.
        """
        ...
