"""A replica as a process of its own: spends one tenant's budgets from many clients at once.

    python -m tests.integration.limits.replica '<JSON of Order>'

Each client reserves, writes its intent, and settles, as fast as it can, until a budget has no room
or the time is over. It prints how often it called and how often it asked the authority.
"""

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import UUID

from tenantry.core.clock import SystemClock
from tenantry.core.errors import BudgetExhausted, StoreUnavailable
from tenantry.core.ids import TenantId
from tenantry.db.pool import RolePool
from tenantry.db.secrets import Secrets
from tenantry.isolation.context import Actor, ContextMint, TenantContext
from tenantry.isolation.signing import ContextSigner
from tenantry.isolation.statements import RoleDatabase
from tenantry.isolation.transaction import Database
from tenantry.limits.authority import PostgresAuthority
from tenantry.limits.budgets import Budgets
from tenantry.limits.complexity import Use, WeightBook
from tenantry.limits.reservation import Reservation
from tenantry.limits.rules import Ask
from tenantry.metering.ledger import CallIntent, Ledger, OpenCall
from tenantry.metering.prices import PriceBook
from tenantry.metering.usage import TokenUsage
from tenantry.metering.writer import LedgerWriter
from tenantry.security.audit import AuditLog

BOUND, USED = 100, 60


@dataclass(frozen=True)
class Order:
    """What a replica is to do."""

    url: str
    secrets: str
    tenant: str
    member: str
    clients: int = 64
    seconds: float = 60.0
    writes_ledger: bool = True

    def as_json(self) -> str:
        """As the process is given it."""
        return json.dumps(asdict(self))


@dataclass
class Told:
    """What a replica has to say at its end."""

    calls: int = 0
    refused: int = 0
    away: int = 0
    trips: int = 0


async def spend(order: Order) -> Told:
    """Call until there is no room, or no time."""
    secrets, clock = Secrets.read(Path(order.secrets)), SystemClock()
    mint, told = ContextMint(b"r" * 32), Told()
    signer = ContextSigner(bytes.fromhex(secrets.signing_key))
    async with AsyncExitStack() as stack:
        pools = {}
        for role, size in (("app", 4), ("audit", 2), ("ledger", 2)):
            password = getattr(secrets, f"{role}_password")
            pools[role] = RolePool(order.url, f"tenantry_{role}", password, size)
            await pools[role].open()
            stack.push_async_callback(pools[role].close)
        db = Database(pools["app"], mint, signer, clock)
        audit = AuditLog(RoleDatabase(pools["audit"]), bytes.fromhex(secrets.audit_key))
        writer = LedgerWriter(RoleDatabase(pools["ledger"]), mint, signer, audit)
        budgets = Budgets(PostgresAuthority(db, signer, audit), WeightBook(), clock)
        ledger = Ledger(db, writer, PriceBook(), clock)
        actor = Actor("member", UUID(order.member), "owner")
        ctx = mint.mint(TenantId(UUID(order.tenant)), actor, frozenset(), "soak", 1e12)
        ask, until = Ask.of(ctx, "openai", "gpt-5-mini"), clock.monotonic() + order.seconds
        upkeep = asyncio.create_task(budgets.run())

        async def write(lease: UUID | None) -> OpenCall | None:
            if not order.writes_ledger:
                return None
            bound = TokenUsage(input_tokens=BOUND)
            return await ledger.open(ctx, CallIntent("chat", ask.provider, ask.model, bound,
                                                     lease_id=lease))  # fmt: skip

        async def client() -> None:
            strikes = 0
            while clock.monotonic() < until and strikes < 12:
                try:
                    held, opened = await budgets.under_lease(
                        ctx, ask, Use(input_tokens=BOUND), write
                    )
                except BudgetExhausted:
                    told.refused += 1
                    strikes += 1
                    await asyncio.sleep(0.3)
                    continue
                except StoreUnavailable:
                    told.away += 1
                    await asyncio.sleep(0.1)
                    continue
                told.calls += 1
                told.away += not await ended(ledger, ctx, held, opened)

        await asyncio.gather(*(client() for _ in range(order.clients)))
        upkeep.cancel()
        told.trips = budgets.trips
        await budgets.close()
        await writer.close()
        await audit.close()
    return told


async def ended(
    ledger: Ledger, ctx: TenantContext, held: Reservation, opened: OpenCall | None
) -> bool:
    """End a call in both books; False when nobody knows whether the ledger has it."""
    try:
        if opened is not None:
            await ledger.close(ctx, opened, TokenUsage(input_tokens=USED))
    except StoreUnavailable:
        held.leave_open()
        return False
    held.settle(Use(input_tokens=USED))
    await asyncio.sleep(0)
    return True


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(asyncio.run(spend(Order(**json.loads(sys.argv[1])))))))
