"""What tests of every kind of database share: acme's desk, and what no kind may do otherwise."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from secrets import token_hex
from typing import Protocol

import pytest

from tenantry.connectors.base import ConnectorServices, QueryLimits, Source
from tenantry.connectors.catalog import Added, ConnectorCatalog, NewConnector
from tenantry.core.errors import NotFound, SourceUnreachable
from tenantry.core.events import Json
from tenantry.core.secret import Secret
from tenantry.security.egress.guard import EgressGuard
from tenantry.security.egress.policy import EgressPolicy
from tests.sources.lent import lent
from tests.worlds import World

_LIMITS = QueryLimits()


class AnyShop(Protocol):
    """A database of a shop with two orders, with a login that may read it."""

    @property
    def password(self) -> str:
        """Of the login."""
        ...

    def options(self, **changed: Json) -> dict[str, Json]:
        """The options of a connector to it; with something else in place of what is right."""
        ...


@dataclass(frozen=True, slots=True)
class Names:
    """Knows the names of a test's servers, and no other."""

    known: Mapping[str, str]

    async def addresses(self, host: str) -> Sequence[str]:
        """The address of a name.

        Raises:
            OSError: it is unknown.
        """
        if host not in self.known:
            raise OSError("unknown")
        return [self.known[host]]


@dataclass(frozen=True, slots=True)
class Desk:
    """Where acme adds and opens connectors of one kind."""

    world: World
    services: ConnectorServices
    catalog: ConnectorCatalog
    kind: str

    async def add(self, shop: AnyShop, password: str = "", /, **changed: Json) -> Added:
        """Add a connector."""
        secrets = {"password": Secret(password or shop.password)}
        name = f"shop-{token_hex(4)}"
        new = NewConnector(name, self.kind, shop.options(**changed), secrets)
        return await self.catalog.create(self.world.acme, new)

    async def source(self, shop: AnyShop, **changed: Json) -> Source:
        """A connector, added and opened."""
        return self.catalog.source(self.world.acme, (await self.add(shop, **changed)).config)


@asynccontextmanager
async def desk_for(world: World, kind: EntryPoint, known: Mapping[str, str]) -> AsyncIterator[Desk]:
    """A catalogue that knows one kind, whose egress may reach the loopback address."""
    egress = EgressGuard(world.audit, EgressPolicy.parse("127.0.0.0/8"), Names(known))
    services = replace(lent(world), egress=egress)
    catalog = ConnectorCatalog(services)
    catalog._kinds = {kind.name: kind}
    yield Desk(world, services, catalog, kind.name)
    await catalog.close()
    await services.pools.close()


class DatabaseBehaviour:
    """What holds for every kind of database; a kind's tests inherit it."""

    async def test_every_level_of_pool_serves_it(self, desk: Desk, shop: AnyShop) -> None:
        for level in ("hybrid", "dedicated", "shared", "per_request"):
            source = await desk.source(shop, level=level)
            for _ in range(2):
                rows = (await source.query("SELECT COUNT(*) AS n FROM orders", _LIMITS)).rows
                assert rows == ((2,),)

    async def test_a_neighbour_cannot_use_the_connectors_password(
        self, desk: Desk, shop: AnyShop
    ) -> None:
        config = (await desk.add(shop)).config
        stolen = desk.catalog.source(desk.world.globex, config)
        with pytest.raises(NotFound) as caught:
            await stolen.query("SELECT * FROM orders", _LIMITS)
        assert "120.50" not in str(caught.value)

    async def test_a_database_that_went_wrong_is_a_clear_error_and_holds_no_connection(
        self, desk: Desk, shop: AnyShop
    ) -> None:
        """What is right when a connector is added may be wrong when it is asked."""
        added = (await desk.add(shop)).config
        wrong: Sequence[tuple[dict[str, Json], str]] = (
            ({"host": "nowhere.test"}, "name is unknown"),
            ({"port": 9}, "port 9"),
            ({"user": "nobody"}, "refused the login"),
            ({"tls_ca": ""}, "certificate"),
        )
        for changed, says in wrong:
            config = replace(added, options={**added.options, **changed})
            source = desk.catalog.source(desk.world.acme, config)
            with pytest.raises(SourceUnreachable, match=says) as caught:
                await source.query("SELECT * FROM orders", _LIMITS)
            assert shop.password not in str(caught.value)
        pools = desk.services.pools.snapshot()
        assert (pools.open - pools.closing, pools.waiting) == (0, 0)
        assert pools.levels["hybrid"].leased == pools.levels["hybrid"].connecting == 0

    async def test_a_hidden_column_of_the_same_name_makes_nothing_ambiguous(
        self, desk: Desk, shop: AnyShop
    ) -> None:
        tables: Json = {"customers": ["id", "name"], "orders": ["customer_id", "total"]}
        source = await desk.source(shop, access={"tables": tables})
        sql = "SELECT id, total FROM customers JOIN orders ON customer_id = id ORDER BY id"
        assert (await source.query(sql, _LIMITS)).rows == ((1, "120.50"), (2, "99.00"))

    async def test_a_key_says_what_the_other_columns_are_where_some_are_hidden(
        self, desk: Desk, shop: AnyShop
    ) -> None:
        tables: Json = {"customers": ["id", "name"], "orders": "*"}
        source = await desk.source(shop, access={"tables": tables})
        sql = (
            "SELECT c.*, COUNT(*) AS n FROM customers c JOIN orders o ON o.customer_id = c.id "
            "GROUP BY c.id ORDER BY c.id"
        )
        found = await source.query(sql, _LIMITS)
        assert found.columns == ("id", "name", "n")
        assert found.rows == ((1, "Initech", 1), (2, "Umbrella", 1))
