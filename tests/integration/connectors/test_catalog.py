"""The tenant's own connectors: named within the tenant, of installed kinds, gone when removed."""

import subprocess
import sys
from uuid import UUID, uuid4

import pytest

from tenantry.connectors.base import QueryLimits
from tenantry.connectors.catalog import NewConnector
from tenantry.core.errors import Conflict, InvalidRequest, NotFound
from tests.integration.connectors.conftest import Shelf

_FIRST = UUID(int=0)


@pytest.mark.req("CON-1")
async def test_both_tenants_may_use_the_same_name(shelf: Shelf) -> None:
    world = shelf.world
    assert shelf.acme_data.name == shelf.globex_data.name
    assert await shelf.catalog.find(world.acme, "data") == shelf.acme_data
    assert await shelf.catalog.find(world.globex, "data") == shelf.globex_data
    with pytest.raises(Conflict, match="of this name"):
        await shelf.catalog.create(world.acme, NewConnector("data", "files"))


@pytest.mark.req("CON-1")
async def test_connectors_are_listed_by_page_and_by_tenant(shelf: Shelf) -> None:
    world = shelf.world
    second = (await shelf.catalog.create(world.acme, NewConnector("second", "files"))).config
    first_page = await shelf.catalog.list_connectors(world.acme, _FIRST, 1)
    assert first_page == [shelf.acme_data]
    rest = await shelf.catalog.list_connectors(world.acme, first_page[-1].connector, 10)
    assert rest == [second]
    assert await shelf.catalog.list_connectors(world.globex, _FIRST, 10) == [shelf.globex_data]


@pytest.mark.req("CON-1")
async def test_a_foreign_connector_and_an_unknown_one_are_the_same(shelf: Shelf) -> None:
    for connector in (shelf.globex_data.connector, uuid4()):
        with pytest.raises(NotFound) as refused:
            await shelf.catalog.get(shelf.world.acme, connector)
        assert refused.value.message == "There is no such thing here."
        with pytest.raises(NotFound):
            await shelf.catalog.remove(shelf.world.acme, connector)
    kept = await shelf.catalog.get(shelf.world.globex, shelf.globex_data.connector)
    assert kept == shelf.globex_data


@pytest.mark.req("CON-1")
@pytest.mark.parametrize("name", ["", "Data", "a b", "-a", "x" * 64, "ä", "a/b", "a\n", "a\x00"])
async def test_a_name_that_is_none_for_a_connector_is_refused(shelf: Shelf, name: str) -> None:
    with pytest.raises(InvalidRequest, match="starts with a letter or a digit"):
        await shelf.catalog.create(shelf.world.acme, NewConnector(name, "files"))
    with pytest.raises(NotFound):
        await shelf.catalog.open(shelf.world.acme, name)


@pytest.mark.req("CON-1")
async def test_kinds_and_options_that_do_not_exist_are_refused(shelf: Shelf) -> None:
    assert "files" in shelf.catalog.kinds
    with pytest.raises(InvalidRequest, match="Known: "):
        await shelf.catalog.create(shelf.world.acme, NewConnector("x", "oracle"))
    with pytest.raises(InvalidRequest, match="no option path"):
        await shelf.catalog.create(shelf.world.acme, NewConnector("x", "files", {"path": "/etc"}))


@pytest.mark.req("CON-1", "SEC-4")
async def test_a_removed_connector_takes_its_tables_and_files_with_it(shelf: Shelf) -> None:
    world = shelf.world
    ours, theirs = shelf.path(world.acme, shelf.flights), shelf.path(world.globex, shelf.orders)
    source = await shelf.source(world.acme)
    await shelf.catalog.remove(world.acme, shelf.acme_data.connector)
    assert not ours.exists()
    assert theirs.exists()
    with pytest.raises(NotFound):
        await shelf.catalog.open(world.acme, "data")
    with pytest.raises(NotFound):
        await source.query("SELECT 1", QueryLimits())
    events = [e["action"] for e in await world.audit_events(world.acme)]
    assert events[-2:] == ["table.removed", "connector.removed"]
    result = await (await shelf.source(world.globex)).query("SELECT * FROM orders", QueryLimits())
    assert len(result.rows) == 2


@pytest.mark.req("CON-1")
def test_listing_the_kinds_imports_none_of_them() -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from types import SimpleNamespace\n"
        "from tenantry.connectors.catalog import ConnectorCatalog\n"
        "catalog = ConnectorCatalog(SimpleNamespace(db=None, audit=None))\n"
        "assert 'files' in catalog.kinds\n"
        "loaded = [n for n in sys.modules if n in ('duckdb', 'sqlglot') or n.endswith('.files')]\n"
        "sys.exit(str(loaded) if loaded else 0)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
