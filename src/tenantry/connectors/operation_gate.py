"""What stands before every call of an operation, whatever kind it is of (SEC-3, SEC-4).

Invariant: only what is offered is called, with arguments that are in the schema shown, and only
what reads unless the configuration says otherwise. Whatever else is asked for is recorded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import orjson

from tenantry.connectors.base import Operation
from tenantry.connectors.exposure import DoesNotFit, Offer, check, filled
from tenantry.connectors.openapi_schema import clean
from tenantry.connectors.option_values import Writes
from tenantry.core.errors import QueryRefused
from tenantry.core.events import AuditSink, Json
from tenantry.isolation.context import TenantContext

_NAMES_SHOWN = 40


@dataclass(frozen=True, slots=True)
class OperationGate:
    """The gate of one connector, for one tenant.

    Attributes:
        ctx: whose calls these are.
        audit: where refusals are recorded.
        connector: its name.
    """

    ctx: TenantContext
    audit: AuditSink
    connector: str

    async def admitted(
        self,
        offers: Mapping[str, Offer],
        operation: str,
        arguments: Mapping[str, Json],
        *,
        writes: Writes,
    ) -> tuple[Offer, dict[str, Json]]:
        """The operation to call, and its arguments with what the configuration fills.

        Raises:
            QueryRefused: there is no such operation, it may not write, or its arguments do not
                fit; recorded, unless it is a mere mistake in a value.
        """
        offer = offers.get(operation)
        if offer is None:
            await self.refuse(operation, "operation")
            known = ", ".join(list(offers)[:_NAMES_SHOWN])
            raise QueryRefused(f"There is no operation of this name. Known: {known or 'none'}.")
        if offer.effect == "write" and writes == "refused":
            await self.refuse(operation, "write")
            raise QueryRefused("This operation changes something; this connector only reads.")
        try:
            check(offer.schema, arguments)
        except DoesNotFit as error:
            if error.unknown:
                await self.refuse(operation, "argument", error.unknown)
            raise QueryRefused(error.message) from None
        return offer, filled(arguments, offer.fixed)

    def to_approve(
        self, offer: Offer, whole: Mapping[str, Json], *, writes: Writes
    ) -> bytes | None:
        """What a member must approve before a model may make a call; None if nothing.

        Returns:
            SHA-256 of the operation, as a model is shown it, and of every argument that is sent.
        """
        if offer.effect == "read" or writes != "approval":
            return None
        call: Json = [self.connector, offer.name, offer.description, offer.schema, dict(whole)]
        return sha256(orjson.dumps(call, option=orjson.OPT_SORT_KEYS)).digest()

    async def record_sent(self, offer: Offer) -> None:
        """Record a call that changes something, before it leaves."""
        if offer.effect == "read":
            return
        detail = {"connector": self.connector, "operation": offer.name}
        await self.audit.record(
            self.ctx.event("call.sent", "allowed", "connector", offer.name, detail)
        )

    async def refuse(self, operation: str, reason: str, named: Sequence[str] = ()) -> None:
        """Record a call that is not made."""
        shown = clean(operation, 60)
        detail: dict[str, Json] = {
            "connector": self.connector,
            "operation": shown,
            "reason": reason,
        }
        if named:
            detail["arguments"] = list(named)
        await self.audit.record(
            self.ctx.event("call.refused", "refused", "connector", shown, detail)
        )


def shown_operations(offers: Mapping[str, Offer]) -> list[Operation]:
    """What a model is told of the operations offered."""
    return [
        Operation(name, offer.description, offer.schema, offer.effect)
        for name, offer in offers.items()
    ]
