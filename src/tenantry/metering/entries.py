"""Rows of the ledger, and the one rule by which an entry is brought to other figures.

A call's entry is the sum of its closing row and its `reconciled` rows. Correcting it never edits:
an unconfirmed entry is taken back whole and entered anew as confirmed, a confirmed one gets the
difference. So every total, by `confirmed` too, is a plain sum of rows.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal
from uuid import UUID

from tenantry.core.errors import Conflict
from tenantry.core.ids import CallId
from tenantry.db.queries import load
from tenantry.isolation.transaction import Transaction
from tenantry.metering.prices import PriceBook, Rates
from tenantry.metering.usage import COUNTS, Operation, Payer, TokenUsage

Kind = Literal["intent", "progress", "settled", "swept", "reconciled", "recorded"]

_SQL = load("tenantry.metering")
_ATTEMPTS = 8  # each lost race means that somebody else's correction is in; two is usual


@dataclass(
    slots=True
)  # not frozen: two are made a call, and freezing 37 fields costs as much again
class Entry:
    """One row of `usage_events`, but for the tenant and the time, which the database gives.

    Nobody changes one once it is made.

    Attributes:
        call_id: the call it belongs to.
        kind: see `db/migrations/0004_metering.sql`.
        part: numbers several rows of one kind.
        actor: who used it, as `kind:id`.
        calls: what the row adds to the number of calls.
        cost_picousd: 1e-12 USD.
        lifetime_s: of an intent: seconds until it may be swept.
        instance: of an intent: the advisory lock of the process that opened it.
        upstream_id: the provider's own id of the call.
        connector_id: of a tool: the connector it reached.
        account: name of the account at the provider, empty where there is none.
        payer: whose account that is.
        request_key: of an intent: digest of the client's key, under which no other call goes in.
        request_digest: of an intent: digest of what was asked under that key.
        lease_id: of an intent: the lease of the budgets that it is made under.
        key_id: of an intent: the API key that asked for it.
    """

    call_id: CallId
    kind: Kind
    operation: Operation
    actor: str
    request_id: str
    provider: str
    model: str
    price_version: int
    part: int = 0
    assistant_id: UUID | None = None
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    duration_ms: int = 0
    row_count: int = 0
    size_bytes: int = 0
    calls: int = 0
    cost_picousd: int = 0
    priced: bool = True
    confirmed: bool = True
    lifetime_s: float | None = None
    instance: int = 0
    upstream_id: str = ""
    connector_id: UUID | None = None
    account: str = ""
    payer: Payer = "platform"
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    image_tokens: int = 0
    request_key: str = ""
    request_digest: str = ""
    lease_id: UUID | None = None
    key_id: UUID | None = None

    @property
    def usage(self) -> TokenUsage:
        """The tokens of this row."""
        counts = {name: getattr(self, name) for name in COUNTS}
        return TokenUsage(**counts, estimated=not self.confirmed)

    def counting(self, usage: TokenUsage, prices: PriceBook) -> "Entry":
        """This row with the tokens of `usage` and their cost by the row's price version."""
        rates = prices.rates(self.price_version, self.provider, self.model, self.payer)
        return replace(self, **figures(usage, rates))


def figures(usage: TokenUsage, rates: Rates | None) -> dict[str, Any]:
    """Fields of a row that count `usage`, and its cost by `rates`."""
    return {
        **{name: getattr(usage, name) for name in COUNTS},
        "cost_picousd": rates.of_tokens(usage) if rates else 0,
        "priced": rates is not None,
    }


async def append(tx: Transaction, entry: Entry) -> bool:
    """Add a row; False when the call already has it, or is closed already."""
    return bool(await tx.execute(_SQL["append_event"], **asdict(entry)))


@dataclass(frozen=True, slots=True)
class Closed:
    """The entry of a closed call: the sum of its rows.

    Attributes:
        entry: the sums, in a row of kind `reconciled` with the next free part.
        confirmed: False while the figures are our own.
    """

    entry: Entry
    confirmed: bool

    @property
    def usage(self) -> TokenUsage:
        """The tokens the entry stands at."""
        return replace(self.entry.usage, estimated=not self.confirmed)


async def closed(tx: Transaction, call_id: CallId) -> Closed | None:
    """The entry of a call of this tenant; None when it is open or unknown."""
    row = await tx.row(_SQL["closed_call"], call_id=call_id)
    if row is None:
        return None
    sums: dict[str, Any] = {name: int(row[name]) for name in _MEASURES}  # sums are numeric in SQL
    entry = Entry(
        call_id=call_id,
        kind="reconciled",
        operation=row["operation"],
        actor=row["actor"],
        request_id=row["request_id"],
        provider=row["provider"],
        model=row["model"],
        price_version=row["price_version"],
        part=row["next_part"],
        assistant_id=row["assistant_id"],
        priced=row["priced"],
        upstream_id=row["upstream_id"],
        account=row["account"],
        payer=row["payer"],
    )
    return Closed(replace(entry, **sums), confirmed=row["unconfirmed"] == 0)


@dataclass(frozen=True, slots=True)
class Correction:
    """What bringing an entry to given figures did.

    Attributes:
        before: the entry as it was.
        cost_picousd: what it costs now.
        changed: False when it stood there already.
    """

    before: Closed
    cost_picousd: int
    changed: bool


async def confirm(
    tx: Transaction, prices: PriceBook, call_id: CallId, usage: TokenUsage, *, final: bool
) -> Correction | None:
    """Bring a closed call to the provider's figures; None when it is open or unknown.

    Doing it again changes nothing, also when two do it at once. Unless `final`, an entry that is
    confirmed already is left alone.

    Raises:
        Conflict: others keep correcting the same call.
    """
    for _ in range(_ATTEMPTS):
        before = await closed(tx, call_id)
        if before is None:
            return None
        if before.confirmed and (not final or before.usage == replace(usage, estimated=False)):
            return Correction(before, before.entry.cost_picousd, changed=False)
        after = before.entry.counting(usage, prices)
        if await _correct(tx, before, after):
            return Correction(before, after.cost_picousd, changed=True)
    raise Conflict("This call is being corrected by others.")


_MEASURES = (*COUNTS, "duration_ms", "row_count", "size_bytes", "cost_picousd")


async def _correct(tx: Transaction, before: Closed, after: Entry) -> bool:
    # The part is the fence: whoever else read the same sums tries the same part, and one wins.
    old = before.entry
    if before.confirmed:
        change = {name: getattr(after, name) - getattr(old, name) for name in _MEASURES}
        return await append(tx, replace(after, calls=0, **change))
    back = {name: -getattr(old, name) for name in _MEASURES}
    if not await append(tx, replace(old, confirmed=False, calls=-1, **back)):
        return False
    return await append(tx, replace(after, part=after.part + 1, calls=1))
