"""Storage, counted once a day (COST-2): what a tenant keeps, by kind, priced per byte and day.

Sizes are those of the stored values (text, vectors, files), without indexes and row headers. What
counts is what is there when the day's first count is taken.
"""

from dataclasses import dataclass
from uuid import UUID, uuid5

from tenantry.core.clock import Clock
from tenantry.core.ids import CallId
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database
from tenantry.metering.entries import Entry, append
from tenantry.metering.prices import PriceBook

STORAGE_PROVIDER = "storage"
"""Price book key of what is kept; the models of it are `Stored.what`."""

_DAYS = UUID("0199f3a0-5c1e-7b60-9d35-2f6f1c1d8a47")  # any constant: names the entries of a day
_SQL = load("tenantry.metering")


@dataclass(frozen=True, slots=True)
class Stored:
    """How much of one kind a tenant keeps: conversations, documents, vectors, files, and so on."""

    what: str
    size_bytes: int
    rows: int


class StorageMeter:
    """Records what tenants keep."""

    def __init__(self, db: Database, prices: PriceBook, clock: Clock) -> None:
        self._db = db
        self._prices = prices
        self._clock = clock

    async def measure(self, ctx: TenantContext) -> list[Stored]:
        """What the tenant keeps now."""
        async with self._db.tenant(ctx) as tx:
            rows = await tx.rows(_SQL["stored_sizes"])
        return [Stored(row["what"], row["size_bytes"], row["row_count"]) for row in rows]

    async def record(self, ctx: TenantContext) -> int:
        """Enter today's storage (by UTC) into the ledger; how many kinds were entered.

        Idempotent: an entry's id is made of the day and the kind, so that a second run on the
        same day, or another server's, adds nothing.
        """
        now = self._clock.now()
        version = self._prices.version_at(now)
        entered = 0
        async with self._db.tenant(ctx) as tx:
            for row in await tx.rows(_SQL["stored_sizes"]):
                kept = Stored(row["what"], row["size_bytes"], row["row_count"])
                if not kept.rows:
                    continue
                rates = self._prices.rates(version, STORAGE_PROVIDER, kept.what)
                entry = Entry(
                    call_id=CallId(uuid5(_DAYS, f"{now:%Y-%m-%d} {kept.what}")),
                    kind="recorded",
                    operation="storage",
                    actor=str(ctx.actor),
                    request_id=ctx.request_id,
                    provider=STORAGE_PROVIDER,
                    model=kept.what,
                    price_version=version,
                    row_count=kept.rows,
                    size_bytes=kept.size_bytes,
                    calls=1,
                    cost_picousd=rates.of_storage(kept.size_bytes, kept.rows) if rates else 0,
                    priced=rates is not None,
                )
                entered += await append(tx, entry)
        return entered
