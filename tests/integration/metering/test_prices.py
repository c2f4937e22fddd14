"""Price versions in the database: published, never changed, taken up by a refresh."""

import asyncio
from datetime import UTC, datetime

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantry.core.errors import InvalidRequest, TenantryError
from tenantry.metering.price_list import (
    PriceList,
    install_default_prices,
    publish_prices,
    shipped_price_list,
)
from tenantry.metering.prices import PriceBook, PriceRow, Unit
from tenantry.metering.usage import TokenUsage
from tests.worlds import World

NOW = datetime(2027, 1, 1, tzinfo=UTC)
OURS = PriceList(
    "Ours", datetime(2026, 12, 1, tzinfo=UTC), "negotiated", (PriceRow("openai", "*", "call", 9),)
)


async def book(world: World) -> PriceBook:
    prices = PriceBook()
    async with world.operator_db.autocommit() as statements:
        await prices.refresh(statements)
    return prices


@pytest.mark.req("COST-3")
async def test_the_shipped_prices_are_installed_once(world: World) -> None:
    assert await install_default_prices(world.operator_db) == 1
    assert await install_default_prices(world.operator_db) is None
    prices = await book(world)
    assert prices.version_at(NOW) == 1
    for row in shipped_price_list().rows:
        rates = prices.rates(1, row.provider, row.model)
        assert rates is not None
        assert rates.by_unit[row.unit] == row.microusd_per_million


@pytest.mark.req("COST-3")
async def test_many_migrations_at_once_install_one_version(world: World) -> None:
    done = await asyncio.gather(*(install_default_prices(world.operator_db) for _ in range(5)))
    assert sorted(done, key=str) == [1, None, None, None, None]


@pytest.mark.req("COST-3")
async def test_an_operators_prices_follow_and_are_never_replaced_by_an_upgrade(
    world: World,
) -> None:
    await install_default_prices(world.operator_db)
    assert await publish_prices(world.operator_db, OURS) == 2
    with world.admin() as connection:
        # As if the first version came with an older release.
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            "UPDATE tenantry.price_versions SET note = 'Tenantry price book 2020-01-01: old'"
            " WHERE price_version = 1"
        )
    assert await install_default_prices(world.operator_db) is None
    assert (await book(world)).version_at(NOW) == 2


@pytest.mark.req("COST-3")
async def test_a_newer_edition_of_the_shipped_prices_follows_an_older_one(world: World) -> None:
    await install_default_prices(world.operator_db)
    with world.admin() as connection:
        connection.execute(
            "UPDATE tenantry.price_versions SET note = 'Tenantry price book 2020-01-01: old'"
        )
    assert await install_default_prices(world.operator_db) == 2


@pytest.mark.req("COST-3")
async def test_an_operator_cannot_publish_under_the_shipped_lists_name(world: World) -> None:
    with pytest.raises(InvalidRequest):
        await publish_prices(world.operator_db, shipped_price_list())


@pytest.mark.req("COST-3")
async def test_a_running_server_takes_up_new_prices_and_keeps_the_old(world: World) -> None:
    await install_default_prices(world.operator_db)
    prices = await book(world)
    await publish_prices(world.operator_db, OURS)
    async with world.db.tenant(world.acme) as tx:  # the tenant's role may read prices too
        await prices.refresh(tx)
    assert prices.version_at(NOW) == 2
    old, new = prices.rates(1, "openai", "gpt-5"), prices.rates(2, "openai", "gpt-5")
    assert old is not None
    assert new is not None
    assert new.of_tokens(TokenUsage(1, 0, 1)) == 9
    assert old.of_tokens(TokenUsage(1, 0, 1)) == 1_250_000 + 10_000_000


@pytest.mark.req("COST-3", "DB-5")
async def test_prices_are_not_a_tenants_to_write_nor_anyones_to_change(world: World) -> None:
    await install_default_prices(world.operator_db)
    for statement in (
        b"INSERT INTO tenantry.price_versions VALUES (9, now(), 'free')",
        b"INSERT INTO tenantry.prices VALUES (1, 'openai', 'x', 'call', 0)",
    ):
        with pytest.raises(TenantryError):
            await _as_tenant(world, statement)
    with pytest.raises(TenantryError):
        await _as_operator(world, b"UPDATE tenantry.prices SET microusd_per_million = 0")
    with pytest.raises(TenantryError):
        await _as_operator(world, b"DELETE FROM tenantry.price_versions")


async def _as_tenant(world: World, statement: bytes) -> None:
    async with world.db.tenant(world.acme) as tx:
        await tx.execute(statement)


async def _as_operator(world: World, statement: bytes) -> None:
    async with world.operator_db.transaction() as statements:
        await statements.execute(statement)


UNITS: list[Unit] = ["input_token", "cached_token", "output_token", "call"]


@pytest.mark.req("COST-3")
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    priced=st.dictionaries(
        st.tuples(st.sampled_from(["gpt", "*"]), st.sampled_from(UNITS)), st.integers(0, 10**9)
    ),
    prompt=st.integers(0, 10**6),
)
async def test_the_sweepers_price_is_the_price_books(
    world: World, priced: dict[tuple[str, Unit], int], prompt: int
) -> None:
    prices = PriceList(
        "Any", NOW, "", tuple(PriceRow("p", model, unit, n) for (model, unit), n in priced.items())
    )
    version = await publish_prices(world.operator_db, prices)
    rates = (await book(world)).rates(version, "p", "gpt")
    query = (
        "SELECT tenantry.unit_price(%(v)s, 'p', 'gpt', 'call')"
        " + %(n)s::bigint * tenantry.unit_price(%(v)s, 'p', 'gpt', 'input_token')"
    )
    with world.admin() as connection:
        found = connection.execute(query, {"v": version, "n": prompt}).fetchone()
    assert found == (rates.of_tokens(TokenUsage(prompt)) if rates else 0,)


@pytest.mark.req("COST-3")
async def test_a_price_above_the_ceiling_cannot_be_stored(world: World) -> None:
    await install_default_prices(world.operator_db)
    insert = "INSERT INTO tenantry.prices VALUES (1, 'p', 'm', 'call', 4000000001)"
    with world.admin() as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(insert)
