"""What every room stands on: doors to the database, context, audit log, ledger. Built first."""

import secrets as random
from contextlib import AsyncExitStack
from dataclasses import dataclass
from uuid import UUID

from tenantry.core.clock import Clock
from tenantry.core.settings import Settings
from tenantry.db.store import Store
from tenantry.isolation.context import ContextMint
from tenantry.isolation.doors import Doors
from tenantry.isolation.notices import Notices
from tenantry.isolation.signing import ContextSigner
from tenantry.isolation.transaction import Database, Transaction
from tenantry.isolation.weights import Weights
from tenantry.limits.authority import PostgresAuthority
from tenantry.limits.budgets import Budgets
from tenantry.limits.complexity import Use, WeightBook
from tenantry.limits.plans import BudgetPlans
from tenantry.limits.reaper import Charged
from tenantry.limits.rules import Ask
from tenantry.metering.lease import ProcessLease
from tenantry.metering.leases import leased_calls
from tenantry.metering.ledger import Ledger
from tenantry.metering.prices import PriceBook
from tenantry.metering.writer import LedgerWriter
from tenantry.security.audit import AuditLog
from tenantry.security.refused_sign_ins import RefusedSignIns
from tenantry.security.standing import Standing


@dataclass(frozen=True, slots=True)
class Foundation:
    """What every room stands on.

    Attributes:
        settings: what to run.
        store: where the database is, and the deployment's secrets.
        doors: every role's way into the database.
        clock: time.
        mint: makes tenant contexts.
        signer: signs them towards the database.
        db: the one door to tenants' rows.
        audit: the log.
        notices: what other processes commit.
        weights: what tenants weigh beside each other.
        standing: what is remembered of credentials.
        refused: sign-ins that failed.
        prices: the price book.
        ledger: the usage ledger.
        budgets: what tenants may use, in this replica.
        plans: where budgets are set.
    """

    settings: Settings
    store: Store
    doors: Doors
    clock: Clock
    mint: ContextMint
    signer: ContextSigner
    db: Database
    audit: AuditLog
    notices: Notices
    weights: Weights
    standing: Standing
    refused: RefusedSignIns
    prices: PriceBook
    ledger: Ledger
    budgets: Budgets
    plans: BudgetPlans

    @classmethod
    async def build(
        cls, stack: AsyncExitStack, settings: Settings, store: Store, doors: Doors, clock: Clock
    ) -> "Foundation":
        """Lay it; what must be closed closes with `stack`.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        mint = ContextMint(random.token_bytes(32))
        signer = ContextSigner(bytes.fromhex(store.secrets.signing_key))
        behind_pooler = settings.database_pooler == "transaction"
        db = Database(doors.app, mint, signer, clock, behind_pooler=behind_pooler)
        audit = AuditLog(doors.audit, bytes.fromhex(store.secrets.audit_key))
        stack.push_async_callback(audit.close)
        refused = RefusedSignIns(audit, clock)
        stack.push_async_callback(refused.close)
        # A pooler has no sessions to hold a lease on: there, calls are swept when they expire.
        instance = 0
        if not behind_pooler:
            instance = (await stack.enter_async_context(ProcessLease(doors.operator))).instance
        notices = Notices(doors.auth, clock)
        standing = Standing(clock, notices.is_live)
        notices.add(standing.listener())
        weights = Weights(doors.operator)
        notices.add(weights.listener())
        prices = PriceBook()
        async with doors.operator.autocommit() as statements:
            await prices.refresh(statements)
        writer = LedgerWriter(doors.ledger, mint, signer, audit)
        stack.push_async_callback(writer.close)
        ledger = Ledger(db, writer, prices, clock, instance=instance)
        plans = BudgetPlans(db, doors.operator, audit)
        book = WeightBook(await plans.weights())
        budgets = Budgets(PostgresAuthority(db, signer, audit), book, clock)
        notices.add(budgets.listener())
        stack.push_async_callback(budgets.close)
        return cls(
            settings,
            store,
            doors,
            clock,
            mint,
            signer,
            db,
            audit,
            notices,
            weights,
            standing,
            refused,
            prices,
            ledger,
            budgets,
            plans,
        )


async def charged_calls(tx: Transaction, lease_id: UUID) -> list[Charged] | None:
    """What the ledger holds of a lease's calls, as budgets count; None while some still run."""
    found = await leased_calls(tx, lease_id)
    if found is None:
        return None
    return [
        Charged(
            Ask(
                UUID(calls.actor.removeprefix("member:"))
                if calls.actor.startswith("member:")
                else None,
                calls.key_id,
                calls.assistant_id,
                calls.provider,
                calls.model,
            ),
            Use(
                calls.usage.input_tokens,
                calls.usage.cached_tokens,
                calls.usage.output_tokens,
                cost_picousd=calls.cost_picousd,
                requests=calls.calls,
            ),
        )
        for calls in found
    ]
