"""The usage ledger (COST-1, COST-2, COST-3): each call is opened, closed once, paid by its tenant.

    open       the intent, durable before the call leaves
    progress   what was surely used so far, durable while it streams
    settle     the end, in the transaction of what the call produced
    close      the end of a call that produced no row of ours

Whatever happens between, the call is closed exactly once: by `settle`, or by the sweeper when the
process died. The database holds that (`usage_events_closed`), so duplicates and races are harmless:

- a second `settle` changes nothing and gives the same cost;
- a `settle` that comes after the sweeper brings the entry to the provider's figures
  (`entries.confirm`) if it has them, and otherwise leaves the swept one.
"""

from dataclasses import dataclass, field, replace
from uuid import UUID

from tenantry.core.clock import Clock
from tenantry.core.errors import AlreadyMade, BoundaryCrossed, InvalidRequest
from tenantry.core.ids import CallId, TenantId, new_id
from tenantry.core.storable import storable
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database, Transaction
from tenantry.metering.entries import Entry, Kind, append, closed, confirm, figures
from tenantry.metering.once import MOST_ATTEMPTS, RequestKey, refuse_repeated
from tenantry.metering.prices import PriceBook, Rates
from tenantry.metering.usage import Operation, Payer, TokenUsage, ToolUsage
from tenantry.metering.writer import LedgerWriter

EMBEDDED_PROVIDER = "embedded"
"""Price book key of what runs in our own process."""
TOOL_PROVIDER = "tenantry"
"""Price book key of tools: they run here."""

_UPSTREAM_ID_LENGTH = 200  # a provider's id is foreign input


@dataclass(frozen=True, slots=True)
class CallIntent:
    """A call that is about to leave, and the most it may use.

    Attributes:
        operation: what kind of call.
        provider: price book key of the provider.
        model: the provider's own name of the model.
        bound: an upper bound: no own count of this call is ever above it.
        assistant_id: the assistant it is made for.
        lifetime_s: seconds after which it counts as abandoned, whoever made it.
        account: name of the account whose key it goes out with.
        payer: whose account that is; a tenant's own costs nothing here.
        key: the client's key, under which the call is made once.
        lease_id: the lease of the tenant's budgets that it is made under.
    """

    operation: Operation
    provider: str
    model: str
    bound: TokenUsage
    assistant_id: UUID | None = None
    lifetime_s: float = 600
    account: str = ""
    payer: Payer = "platform"
    key: RequestKey | None = None
    lease_id: UUID | None = None


@dataclass(slots=True)
class OpenCall:
    """A call under way; belongs to one tenant and is good for nothing in another.

    Attributes:
        tenant: who pays.
        call_id: UUIDv7; also sent upstream where the provider takes an id of the client's.
        intent: what was announced.
        price_version: prices in force when it was opened, which it is settled by.
        started: monotonic clock, in seconds.
        next_part: number of the next progress row.
    """

    tenant: TenantId
    call_id: CallId
    intent: CallIntent = field(repr=False)
    price_version: int
    started: float
    next_part: int = 1


class Ledger:
    """Writes the usage of every tenant; append-only."""

    def __init__(
        self,
        db: Database,
        writer: LedgerWriter,
        prices: PriceBook,
        clock: Clock,
        *,
        instance: int = 0,
    ) -> None:
        """With the `instance` of a `ProcessLease`, calls are swept as soon as the process dies."""
        self._db = db
        self._writer = writer
        self._prices = prices
        self._clock = clock
        self._instance = instance

    async def open(self, ctx: TenantContext, intent: CallIntent) -> OpenCall:
        """Announce a call; durable on return, so that no call is ever unaccounted for.

        Raises:
            InvalidRequest: the bound or the lifetime is no figure that can be.
            AlreadyMade: a call with this key was made; see `once`.
            KeyReused: something else was asked under this key.
            LeaseLost: the tenant has budgets, and this is no live lease of theirs.
            StoreUnavailable: the intent cannot be written; the call must then not be made.
        """
        plausible = intent.bound.plausible()
        if intent.lifetime_s <= 0 or (plausible is not intent.bound and plausible != intent.bound):
            raise InvalidRequest("The bound of a call is not valid.")
        version = self._prices.version_at(self._clock.now())
        call = OpenCall(ctx.tenant, CallId(new_id()), intent, version, self._clock.monotonic())
        entry = self._entry(ctx, call, "intent", intent.bound)
        if intent.key is None:
            await self._writer.append(ctx, entry)
        else:
            await self._open_once(ctx, entry, intent.key)
        return call

    async def _open_once(self, ctx: TenantContext, entry: Entry, key: RequestKey) -> None:
        for number in range(MOST_ATTEMPTS):
            keyed = replace(entry, request_key=key.attempt(number), request_digest=key.digest)
            if await self._writer.append(ctx, keyed):
                return
            await refuse_repeated(ctx, self._db, key, number)
        raise AlreadyMade("This call failed too often under this key; use another.")

    def cost(self, intent: CallIntent, usage: TokenUsage) -> int:
        """What a call that is opened now and uses this much costs, in pico-USD."""
        version = self._prices.version_at(self._clock.now())
        rates = self._prices.rates(version, intent.provider, intent.model, intent.payer)
        return rates.of_tokens(usage) if rates else 0

    async def progress(
        self, ctx: TenantContext, call: OpenCall, usage: TokenUsage, *, upstream_id: str = ""
    ) -> None:
        """Note everything the call has used so far (a running total); durable on return.

        Raises:
            BoundaryCrossed: the call belongs to another tenant.
        """
        _own(ctx, call)
        so_far = usage.bounded(call.intent.bound)
        entry = self._entry(ctx, call, "progress", so_far, upstream_id)
        call.next_part += 1
        await self._writer.append(ctx, entry)

    async def close(
        self,
        ctx: TenantContext,
        call: OpenCall,
        usage: TokenUsage,
        *,
        confirmed: bool = True,
        upstream_id: str = "",
    ) -> int:
        """Close a call by itself; durable on return. Otherwise as `settle`.

        Raises:
            BoundaryCrossed: the call belongs to another tenant.
            StoreUnavailable: it cannot be written; the sweeper closes the call.
        """
        _own(ctx, call)
        entry = self._end(ctx, call, usage, confirmed=confirmed, upstream_id=upstream_id)
        if await self._writer.append(ctx, entry):
            return entry.cost_picousd
        async with self._db.tenant(ctx) as tx:
            return await self._close_again(tx, call, entry)

    async def settle(
        self,
        tx: Transaction,
        call: OpenCall,
        usage: TokenUsage,
        *,
        confirmed: bool = True,
        upstream_id: str = "",
    ) -> int:
        """Close the call inside the caller's transaction; what it costs, in pico-USD.

        A call that never left is settled with `TokenUsage()`.

        Args:
            tx: where what the call produced is written too.
            call: from `open`.
            usage: the provider's figures, or our own count when it gave none.
            confirmed: False when the figures are our own; so are those marked as estimated, and
                those of a provider that cannot be true. Own figures are held to the bound.
            upstream_id: the provider's id of the call, by which its export can be reconciled.

        Raises:
            BoundaryCrossed: the call belongs to another tenant.
        """
        _own(tx.ctx, call)
        entry = self._end(tx.ctx, call, usage, confirmed=confirmed, upstream_id=upstream_id)
        if await append(tx, entry):
            return entry.cost_picousd
        return await self._close_again(tx, call, entry)

    async def record_tool(self, tx: Transaction, provider: str, usage: ToolUsage) -> int:
        """Record a tool execution; its cost in pico-USD."""
        entry, rates = self._recorded(tx.ctx, "tool", provider, usage.tool)
        entry = replace(
            entry,
            duration_ms=usage.duration_ms,
            row_count=usage.rows,
            size_bytes=usage.size_bytes,
            connector_id=usage.connector_id,
            cost_picousd=rates.of_tool(usage) if rates else 0,
        )
        await append(tx, entry)
        return entry.cost_picousd

    async def record_embedding(
        self, tx: Transaction, embedder: str, tokens: int, operation: Operation = "embedding"
    ) -> int:
        """Record texts embedded; the cost in pico-USD.

        Args:
            tx: where the vectors, or the search, belong.
            embedder: `Embedder.name`: `<provider>/<model>`, or a bare name of one in process.
            tokens: as `Embedder.count_tokens` counts them.
            operation: `vector_search` when the vector was that of a question.
        """
        entry = self._embedding(tx.ctx, operation, embedder, tokens)
        await append(tx, entry)
        return entry.cost_picousd

    async def record_search(
        self, tx: Transaction, embedder: str, tokens: int, rows: int, duration_ms: int
    ) -> int:
        """Record a search by meaning; the cost in pico-USD.

        Args:
            tx: where the search belongs.
            embedder: `Embedder.name` of the model that the question went to.
            tokens: of the question.
            rows: passages found.
            duration_ms: of the search itself, without the embedding.
        """
        entry = self._embedding(tx.ctx, "vector_search", embedder, tokens)
        entry = replace(entry, row_count=rows, duration_ms=duration_ms)
        await append(tx, entry)
        return entry.cost_picousd

    def _end(
        self,
        ctx: TenantContext,
        call: OpenCall,
        usage: TokenUsage,
        *,
        confirmed: bool,
        upstream_id: str,
    ) -> Entry:
        figures = usage.plausible()
        if figures.estimated or not confirmed:
            figures = figures.bounded(call.intent.bound)
        return self._entry(ctx, call, "settled", figures, upstream_id)

    async def _close_again(self, tx: Transaction, call: OpenCall, entry: Entry) -> int:
        """What a call costs that was closed before; its own figures count if it has any."""
        if entry.confirmed:
            correction = await confirm(tx, self._prices, call.call_id, entry.usage, final=False)
            return correction.cost_picousd if correction else 0
        stands = await closed(tx, call.call_id)
        return stands.entry.cost_picousd if stands else 0

    def _entry(
        self, ctx: TenantContext, call: OpenCall, kind: Kind, usage: TokenUsage, upstream: str = ""
    ) -> Entry:
        intent = call.intent
        rates = self._prices.rates(call.price_version, intent.provider, intent.model, intent.payer)
        is_intent, is_end = kind == "intent", kind == "settled"
        elapsed_ms = 0 if is_intent else int((self._clock.monotonic() - call.started) * 1000)
        return Entry(
            call_id=call.call_id,
            kind=kind,
            operation=intent.operation,
            actor=str(ctx.actor),
            request_id=ctx.request_id,
            provider=intent.provider,
            model=intent.model,
            price_version=call.price_version,
            part=call.next_part if kind == "progress" else 0,
            assistant_id=intent.assistant_id,
            duration_ms=elapsed_ms,
            calls=1 if is_end else 0,
            confirmed=not usage.estimated,
            lifetime_s=intent.lifetime_s if is_intent else None,
            instance=self._instance if is_intent else 0,
            upstream_id=storable(upstream[:_UPSTREAM_ID_LENGTH]) if upstream else "",
            account=intent.account,
            payer=intent.payer,
            lease_id=intent.lease_id if is_intent else None,
            key_id=ctx.actor.key_id if is_intent else None,
            **figures(usage, rates),
        )

    def _embedding(
        self, ctx: TenantContext, operation: Operation, embedder: str, tokens: int
    ) -> Entry:
        provider, slash, model = embedder.partition("/")
        if not slash:
            provider, model = EMBEDDED_PROVIDER, embedder
        entry, _ = self._recorded(ctx, operation, provider, model)
        usage = TokenUsage(input_tokens=tokens).plausible()
        return replace(entry, account=provider if slash else "").counting(usage, self._prices)

    def _recorded(
        self, ctx: TenantContext, operation: Operation, provider: str, model: str
    ) -> tuple[Entry, Rates | None]:
        version = self._prices.version_at(self._clock.now())
        rates = self._prices.rates(version, provider, model)
        entry = Entry(
            call_id=CallId(new_id()),
            kind="recorded",
            operation=operation,
            actor=str(ctx.actor),
            request_id=ctx.request_id,
            provider=provider,
            model=model,
            price_version=version,
            calls=1,
            priced=rates is not None,
        )
        return entry, rates


def _own(ctx: TenantContext, call: OpenCall) -> None:
    if call.tenant != ctx.tenant:
        raise BoundaryCrossed
