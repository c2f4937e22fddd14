"""Schemas are remembered for minutes, each for its own tenant and connector (CON-2)."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tenantry.connectors.base import ConnectorConfig, Table
from tenantry.connectors.schema_memory import SchemaMemory
from tenantry.core.clock import ManualClock
from tenantry.core.errors import QueryFailed
from tenantry.core.ids import ConnectorId, TenantId, new_id
from tenantry.isolation.context import Actor, ContextMint, TenantContext

Look = Callable[[], Awaitable[Sequence[Table]]]
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG = ConnectorConfig(ConnectorId(new_id()), "shop", "mysql", {}, _NOW, 1)


def _found(name: str) -> Look:
    async def look() -> Sequence[Table]:
        return [Table(name, ())]

    return look


async def _down() -> Sequence[Table]:
    raise QueryFailed("down")


def _name(tables: Sequence[Table]) -> str:
    return tables[0].name


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(_NOW)


@pytest.fixture
def memory(clock: ManualClock) -> SchemaMemory[Sequence[Table]]:
    return SchemaMemory(clock)


async def test_what_was_found_is_remembered_for_five_minutes(
    ctx: TenantContext, memory: SchemaMemory[Sequence[Table]], clock: ManualClock
) -> None:
    assert _name(await memory.tables(ctx, CONFIG, _found("first"))) == "first"
    clock.advance(299)
    assert _name(await memory.tables(ctx, CONFIG, _found("second"))) == "first"
    clock.advance(2)
    assert _name(await memory.tables(ctx, CONFIG, _found("third"))) == "third"


async def test_looking_anew_replaces_what_is_remembered(
    ctx: TenantContext, memory: SchemaMemory[Sequence[Table]]
) -> None:
    await memory.tables(ctx, CONFIG, _found("first"))
    assert _name(await memory.tables(ctx, CONFIG, _found("second"), refresh=True)) == "second"
    assert _name(await memory.tables(ctx, CONFIG, _found("third"))) == "second"


@pytest.mark.req("DB-1")
async def test_a_neighbour_with_the_same_connector_id_is_told_nothing(
    ctx: TenantContext, memory: SchemaMemory[Sequence[Table]]
) -> None:
    actor = Actor("member", new_id(), "owner")
    mint = ContextMint(b"k" * 32)
    neighbour = mint.mint(TenantId(new_id()), actor, frozenset(), "req", 1e9)
    await memory.tables(ctx, CONFIG, _found("first"))
    assert _name(await memory.tables(neighbour, CONFIG, _found("own"))) == "own"
    assert _name(await memory.tables(ctx, CONFIG, _found("second"))) == "first"


async def test_another_credential_may_see_something_else(
    ctx: TenantContext, memory: SchemaMemory[Sequence[Table]]
) -> None:
    await memory.tables(ctx, CONFIG, _found("first"))
    rotated = replace(CONFIG, credential_version=2)
    assert _name(await memory.tables(ctx, rotated, _found("second"))) == "second"


async def test_a_failure_is_not_remembered(
    ctx: TenantContext, memory: SchemaMemory[Sequence[Table]]
) -> None:
    with pytest.raises(QueryFailed):
        await memory.tables(ctx, CONFIG, _down)
    assert _name(await memory.tables(ctx, CONFIG, _found("first"))) == "first"
    with pytest.raises(QueryFailed):
        await memory.tables(ctx, CONFIG, _down, refresh=True)
    assert _name(await memory.tables(ctx, CONFIG, _down)) == "first"


async def test_a_forgotten_connector_is_looked_at_again(
    ctx: TenantContext, memory: SchemaMemory[Sequence[Table]]
) -> None:
    other = replace(CONFIG, connector=ConnectorId(new_id()))
    await memory.tables(ctx, CONFIG, _found("first"))
    await memory.tables(ctx, other, _found("other"))
    memory.forget(ctx, CONFIG.connector)
    assert _name(await memory.tables(ctx, CONFIG, _found("second"))) == "second"
    assert _name(await memory.tables(ctx, other, _found("third"))) == "other"


async def test_the_least_recently_used_is_forgotten_first(
    ctx: TenantContext, memory: SchemaMemory[Sequence[Table]]
) -> None:
    configs = [replace(CONFIG, connector=ConnectorId(new_id())) for _ in range(257)]
    for config in configs[:256]:
        await memory.tables(ctx, config, _found("first"))
    await memory.tables(ctx, configs[0], _down)  # used again
    await memory.tables(ctx, configs[256], _found("first"))
    assert _name(await memory.tables(ctx, configs[0], _found("second"))) == "first"
    assert _name(await memory.tables(ctx, configs[1], _found("second"))) == "second"
