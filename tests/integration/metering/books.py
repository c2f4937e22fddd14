"""What the metering tests share: small prices, one call's figures, and the rows as they are."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from tenantry.isolation.context import TenantContext
from tenantry.metering.ledger import CallIntent, Ledger, OpenCall
from tenantry.metering.prices import PriceBook, PriceRow, PriceVersion
from tenantry.metering.reports import Period
from tenantry.metering.usage import TokenUsage
from tests.worlds import World

PRICES = [
    PriceRow("openai", "gpt-5-mini", "input_token", 250_000),
    PriceRow("openai", "gpt-5-mini", "cached_token", 25_000),
    PriceRow("openai", "gpt-5-mini", "output_token", 2_000_000),
    PriceRow("embedded", "*", "input_token", 10),
    PriceRow("tenantry", "*", "millisecond", 3),
    PriceRow("tenantry", "*", "row", 5),
    PriceRow("tenantry", "*", "byte", 7),
    PriceRow("storage", "*", "byte", 4),
]
BOOK = PriceVersion.of(7, datetime(2025, 1, 1, tzinfo=UTC), PRICES)
BOUND = TokenUsage(input_tokens=400, output_tokens=1000)
INTENT = CallIntent("chat", "openai", "gpt-5-mini", BOUND, assistant_id=uuid4())
USED = TokenUsage(input_tokens=120, cached_tokens=20, output_tokens=300, reasoning_tokens=40)
USED_COST = 100 * 250_000 + 20 * 25_000 + 300 * 2_000_000


def price_book(world: World) -> PriceBook:
    """The prices above, in memory and in the database, where the sweeper reads them."""
    with world.admin() as connection:
        connection.execute(
            "INSERT INTO tenantry.price_versions VALUES (7, '2025-01-01Z', 'test')"
            " ON CONFLICT DO NOTHING"
        )
        for row in PRICES:
            connection.execute(
                "INSERT INTO tenantry.prices VALUES (7, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                [row.provider, row.model, row.unit, row.microusd_per_million],
            )
    return PriceBook([BOOK])


def rows(world: World, ctx: TenantContext) -> list[dict[str, Any]]:
    """The tenant's ledger rows past row-level security, by call and time."""
    query = "SELECT * FROM tenantry.usage_events WHERE tenant_id = %s ORDER BY call_id, at, part"
    with world.admin() as connection:
        cursor = connection.execute(query, [ctx.tenant])
        names = [c.name for c in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def kinds(world: World, ctx: TenantContext) -> list[str]:
    """Kinds of the tenant's rows, by call and time."""
    return [row["kind"] for row in rows(world, ctx)]


async def settle(
    world: World, ledger: Ledger, ctx: TenantContext, call: OpenCall, usage: TokenUsage, **more: Any
) -> int:
    """Settle in a transaction of its own."""
    async with world.db.tenant(ctx) as tx:
        return await ledger.settle(tx, call, usage, **more)


def all_time() -> Period:
    """A period that holds every row of a test."""
    now = datetime.now(UTC)
    return Period(now - timedelta(days=1), now + timedelta(days=1))
