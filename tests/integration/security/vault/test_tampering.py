"""Whoever holds the database moves and changes sealed rows: nothing opens, all is recorded."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import pytest

from tenantry.core.errors import SecretUnreadable
from tenantry.isolation.context import TenantContext
from tenantry.security.vault.envelope import OwnerKind, SecretOwner
from tests.integration.security.vault.conftest import Estate, connector

_SWAPS = 1000


@dataclass(frozen=True)
class Kept:
    """A credential of one field, what it says, and how its row is found."""

    ctx: TenantContext
    owner: SecretOwner
    version: int
    field: str
    text: str

    @property
    def row(self) -> tuple[object, ...]:
        return self.ctx.tenant, self.owner.kind, self.owner.id, self.version


async def _population(estate: Estate) -> list[Kept]:
    """40 credentials: two tenants, owners, kinds, versions, fields and data keys."""
    kept = []
    kinds: tuple[OwnerKind, ...] = ("connector", "provider_account")
    for era in range(2):
        for ctx in (estate.world.acme, estate.world.globex):
            for n in range(5):
                owner = SecretOwner(kinds[n % 2], connector().id)
                field = ("password", "token")[(n + era) % 2]
                for version in (1, 2):
                    text = f"{ctx.tenant} {owner.id} {field} {version}"
                    await estate.keep(ctx, owner, **{field: text})
                    kept.append(Kept(ctx, owner, version, field, text))
            if era == 0:
                await estate.rotation._data_keys.add(ctx)
    return kept


def _derangement(random: Random, count: int) -> list[int]:
    """A permutation that leaves nothing in its place."""
    while True:
        order = random.sample(range(count), count)
        if all(place != source for place, source in enumerate(order)):
            return order


_PUT = """
UPDATE tenantry.vault_secrets AS s SET sealed = b.sealed, key_version = CASE
       WHEN %s THEN b.key_version ELSE s.key_version END
  FROM public.before AS b
 WHERE (s.tenant_id, s.owner_kind, s.owner_id, s.version) = (%s, %s, %s, %s)
   AND (b.tenant_id, b.owner_kind, b.owner_id, b.version) = (%s, %s, %s, %s)
"""


def _put(estate: Estate, kept: Sequence[Kept], order: Sequence[int], *, with_key: bool) -> None:
    """Give each row what stood in the row that `order` names."""
    with estate.world.admin() as admin, admin.transaction():
        for place, source in enumerate(order):
            admin.execute(_PUT, [with_key, *kept[place].row, *kept[source].row])


async def _opened(estate: Estate, kept: Sequence[Kept]) -> list[object]:
    async def attempt(each: Kept) -> object:
        try:
            return (await estate.vault.open(each.ctx, each.owner, each.version)).fields
        except SecretUnreadable:
            return SecretUnreadable

    return list(await asyncio.gather(*(attempt(each) for each in kept)))


@pytest.mark.req("POOL-4", "SEC-4")
async def test_no_secret_opens_anywhere_else_in_a_thousand_random_swaps(estate: Estate) -> None:
    kept = await _population(estate)
    estate.sql("CREATE TABLE public.before AS SELECT * FROM tenantry.vault_secrets")
    random, swapped = Random(20260501), 0
    while swapped < _SWAPS:
        # With its data key's version in half of the rounds, so that the key may be the right one.
        order = _derangement(random, len(kept))
        _put(estate, kept, order, with_key=swapped // len(kept) % 2 == 1)
        assert set(await _opened(estate, kept)) == {SecretUnreadable}
        swapped += len(kept)
    _put(estate, kept, range(len(kept)), with_key=True)
    for each in kept:  # each where it belongs: all of them open
        assert await estate.read(each.ctx, each.owner, each.version) == {each.field: each.text}
    refused = [a for ctx in (kept[0].ctx, kept[-1].ctx) for a in await estate.actions(ctx)]
    assert refused.count("vault.refused") == swapped  # one event each


@pytest.mark.req("POOL-4", "SEC-4")
async def test_a_field_under_another_name_does_not_open(estate: Estate) -> None:
    acme = estate.world.acme
    owner, _ = await estate.keep(acme, user="root", password="s3cret")
    estate.sql(
        "UPDATE tenantry.vault_secrets SET field = CASE field WHEN 'user' THEN 'x' ELSE 'user' END"
    )
    with pytest.raises(SecretUnreadable):
        await estate.vault.open(acme, owner, 1)
    assert (await estate.actions(acme))[1:] == ["vault.refused"]


@pytest.mark.req("POOL-4", "SEC-4")
async def test_a_data_key_of_another_tenant_or_version_opens_and_seals_nothing(
    estate: Estate,
) -> None:
    acme, globex = estate.world.acme, estate.world.globex
    owner, _ = await estate.keep(acme, password="acme's")
    await estate.keep(globex, password="globex's")
    await estate.rotation.reseal(globex)
    moved = (
        "UPDATE tenantry.vault_keys AS k SET wrapped = o.wrapped FROM tenantry.vault_keys AS o"
        " WHERE k.tenant_id = %s AND o.tenant_id = %s AND o.key_version = %s"
    )
    for victim, source, version in ((acme, globex, 1), (globex, globex, 2)):
        estate.sql(f"{moved} AND k.key_version = 1", victim.tenant, source.tenant, version)
    with pytest.raises(SecretUnreadable):  # though it was opened and is held in memory
        await estate.vault.open(acme, owner, 1)
    with pytest.raises(SecretUnreadable):
        await estate.keep(acme, password="new")
    assert (await estate.actions(acme))[1:] == ["vault.refused", "vault.refused"]


@pytest.mark.req("POOL-4", "SEC-4")
async def test_a_changed_byte_anywhere_in_a_sealed_row_is_noticed(estate: Estate) -> None:
    acme = estate.world.acme
    owner, _ = await estate.keep(acme, password="x")
    ((sealed,),) = estate.sql("SELECT sealed FROM tenantry.vault_secrets")
    for place in range(len(sealed)):
        changed = bytes(b ^ (0x80 if n == place else 0) for n, b in enumerate(sealed))
        estate.sql("UPDATE tenantry.vault_secrets SET sealed = %s", changed)
        with pytest.raises(SecretUnreadable):
            await estate.vault.open(acme, owner, 1)
    assert (await estate.actions(acme)).count("vault.refused") == len(sealed) == 29


@pytest.mark.req("POOL-4", "SEC-4")
async def test_the_database_and_its_log_hold_no_secret(estate: Estate) -> None:
    acme, text = estate.world.acme, "tcn_vault_needle_in_no_haystack"
    owner, _ = await estate.keep(acme, password=text)
    await estate.read(acme, owner, 1)
    await estate.rotation.reseal(acme)
    estate.sql("UPDATE tenantry.vault_secrets SET sealed = sealed || 'x'::bytea")
    with pytest.raises(SecretUnreadable):
        await estate.vault.open(acme, owner, 1)
    tables = estate.sql(
        "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname ~ '^tenantry'"
    )
    needle = text.encode().hex()
    for (table,) in tables:
        for (row,) in estate.sql(f"SELECT t::text FROM {table} AS t"):
            assert text not in row, table
            assert needle not in row, table
