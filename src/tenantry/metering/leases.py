"""What the ledger knows of the calls that were made under one lease of the budgets."""

from dataclasses import dataclass
from uuid import UUID

from tenantry.db.queries import load
from tenantry.isolation.transaction import Transaction
from tenantry.metering.usage import TokenUsage

_SQL = load("tenantry.metering")


@dataclass(frozen=True, slots=True)
class LeasedCalls:
    """Calls of one lease by the same asker to the same model; sums.

    Attributes:
        actor: who asked, as `kind:id`.
        key_id: the API key it asked with.
        assistant_id: the assistant it asked.
        provider: price book key of the provider.
        model: the provider's own name of the model.
        calls: how many.
        usage: what they used; the most they could, of those that were swept.
        cost_picousd: what that costs.
    """

    actor: str
    key_id: UUID | None
    assistant_id: UUID | None
    provider: str
    model: str
    calls: int
    usage: TokenUsage
    cost_picousd: int


async def leased_calls(tx: Transaction, lease_id: UUID) -> list[LeasedCalls] | None:
    """The calls of a lease; None while some of them have not ended."""
    rows = await tx.rows(_SQL["calls_of_lease"], lease_id=lease_id)
    if any(row["open"] for row in rows):
        return None
    return [
        LeasedCalls(
            row["actor"],
            row["key_id"],
            row["assistant_id"],
            row["provider"],
            row["model"],
            int(row["calls"]),
            TokenUsage(
                int(row["input_tokens"]), int(row["cached_tokens"]), int(row["output_tokens"])
            ),
            int(row["cost_picousd"]),
        )
        for row in rows
    ]
