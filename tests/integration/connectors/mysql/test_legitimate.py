"""What an analyst asks is let through, and gives what it gives when it is run bare (CON-3)."""

from contextlib import aclosing
from pathlib import Path

import pytest

from tenantry.connectors.base import QueryLimits
from tenantry.core.events import Json
from tests.integration.connectors.databases import Desk
from tests.integration.connectors.mysql.conftest import Shop
from tests.sources.mariadb import needs_mariadb

pytestmark = needs_mariadb
_QUERIES = [
    line
    for line in Path(__file__).with_name("legitimate.txt").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
]


async def _bare(shop: Shop, sql: str) -> list[tuple[Json, ...]]:
    connection = await shop.connect()
    try:
        columns = await connection.execute(sql)
        async with aclosing(connection.rows()) as rows:
            return [
                tuple(c.value(v) for c, v in zip(columns, row, strict=True)) async for row in rows
            ]
    finally:
        await connection.close()


@pytest.mark.req("CON-3")
async def test_an_analytic_query_gives_what_it_gives_bare(desk: Desk, shop: Shop) -> None:
    source = await desk.source(shop)
    differ = []
    for sql in _QUERIES:
        result = await source.query(sql, QueryLimits())
        if list(result.rows) != await _bare(shop, sql):
            differ.append((sql, result.sql))
    assert differ == []


def test_there_are_enough_of_them() -> None:
    assert len(_QUERIES) >= 40
