"""Keys rotate while everything runs, and are destroyed for good."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_bytes

import pytest

from tenantry.core.errors import Conflict, SecretUnreadable, VaultUnavailable
from tenantry.core.secret import Secret
from tenantry.isolation.context import TenantContext
from tenantry.security.vault.data_keys import OLDEST, DataKeys
from tenantry.security.vault.envelope import SecretOwner
from tenantry.security.vault.file_keys import FileKeys
from tenantry.security.vault.keepers import Keepers, key_encryption
from tenantry.security.vault.key_file import read_key_file, remove_key
from tenantry.security.vault.rotation import Moved
from tests.integration.security.vault.conftest import Estate, connector
from tests.integration.security.vault.key_services import TOKEN, Transit, served

NextKey = Callable[[], str]


def _wrapped_by(estate: Estate) -> list[str]:
    rows = estate.sql("SELECT wrapped_by FROM tenantry.vault_keys ORDER BY tenant_id, key_version")
    return [by for (by,) in rows]


@pytest.mark.req("POOL-4")
async def test_rewrapping_moves_data_keys_to_the_current_key_and_nothing_else(
    estate: Estate, next_key: NextKey, key_file: Path
) -> None:
    acme, globex = estate.world.acme, estate.world.globex
    owner, _ = await estate.keep(acme, password="acme's")
    await estate.keep(globex, password="globex's")
    await estate.rotation.reseal(acme)
    before = estate.sql("SELECT * FROM tenantry.vault_secrets ORDER BY 1")
    (old,) = set(_wrapped_by(estate))
    new = f"file:{next_key()}"
    assert await estate.rotation.rewrap(acme) == Moved(2, 0)
    assert await estate.rotation.rewrap(acme) == Moved(0, 0)  # idempotent
    assert sorted(_wrapped_by(estate)) == sorted([new, new, old])  # globex has its own turn
    assert await estate.rotation.rewrap(globex) == Moved(1, 0)
    remove_key(key_file, old.removeprefix("file:"))
    assert await Estate.build(estate.world, estate.keys).read(acme, owner, 1) == {
        "password": "acme's"
    }
    assert estate.sql("SELECT * FROM tenantry.vault_secrets ORDER BY 1") == before
    assert (await estate.actions(acme)).count("vault.rotated") == 2


@pytest.mark.req("POOL-4")
async def test_resealing_moves_every_secret_to_a_new_data_key(estate: Estate) -> None:
    acme = estate.world.acme
    kept = [await estate.keep(acme, password=str(n), user="u") for n in range(60)]
    assert await estate.rotation.reseal(acme) == Moved(120, 0)
    assert estate.sql("SELECT DISTINCT key_version FROM tenantry.vault_secrets") == [(2,)]
    ((used,),) = estate.sql("SELECT seals FROM tenantry.vault_keys WHERE key_version = 2")
    assert used >= 120
    for n, (owner, version) in enumerate(kept):
        assert await estate.read(acme, owner, version) == {"password": str(n), "user": "u"}
    standing = await estate.rotation.standing(acme)
    assert [(s.data_keys, s.secrets) for s in standing] == [(2, 120)]


@pytest.mark.req("POOL-4")
async def test_a_data_key_is_renewed_after_ninety_days_or_its_most_seals(estate: Estate) -> None:
    acme = estate.world.acme
    assert await estate.rotation.renew(acme) == Moved(0, 0)  # nothing kept: nothing made
    owner, _ = await estate.keep(acme, password="x")
    estate.clock.advance(OLDEST.total_seconds() - 1)
    assert await estate.rotation.renew(acme) == Moved(0, 0)
    estate.clock.advance(1)
    await estate.keep(acme, password="sealing makes the new key as well")
    assert await estate.rotation.renew(acme) == Moved(1, 0)
    assert await estate.read(acme, owner, 1) == {"password": "x"}
    few = DataKeys(estate.world.db, estate.keys, estate.clock, most_seals=6)
    versions = [(await few.to_seal(acme, 2)).version for _ in range(5)]
    assert versions == [2, 3, 3, 3, 4]  # the second key has made some already
    assert estate.sql("SELECT seals FROM tenantry.vault_keys ORDER BY key_version") == [
        (2,), (5,), (6,), (2,),
    ]  # fmt: skip


@dataclass
class Traffic:
    """Readers and writers of two tenants in two processes, until they are told to stop."""

    key_file: Path
    kept: dict[TenantContext, list[tuple[SecretOwner, int]]]
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    opened: int = 0
    stored: int = 0

    async def read(self, process: Estate, ctx: TenantContext) -> None:
        while not self.stop.is_set():
            for n, (owner, version) in enumerate(self.kept[ctx]):
                assert await process.read(ctx, owner, version) == {"password": f"{ctx.tenant} {n}"}
                self.opened += 1

    async def write(self, process: Estate, ctx: TenantContext) -> None:
        owner = connector()
        while not self.stop.is_set():
            text = f"{owner.id} {self.stored}"
            _, version = await process.keep(ctx, owner, password=text)
            assert await process.read(ctx, owner, version) == {"password": text}
            self.stored += 1

    async def rotate(self, estate: Estate, next_key: NextKey) -> None:
        for number in range(6):
            next_key()
            for ctx in self.kept:
                assert (await estate.rotation.rewrap(ctx)).unreadable == 0
                if number % 2:
                    assert (await estate.rotation.reseal(ctx)).unreadable == 0
        self.stop.set()

    async def run(self, estate: Estate, next_key: NextKey) -> None:
        async with asyncio.TaskGroup() as tasks:  # an error in any of them is the caller's
            for _ in range(2):
                process = Estate.build(estate.world, FileKeys(self.key_file))
                for ctx in self.kept:
                    tasks.create_task(self.read(process, ctx))
                    tasks.create_task(self.write(process, ctx))
            tasks.create_task(self.rotate(estate, next_key))


@pytest.mark.req("POOL-4")
async def test_keys_rotate_under_traffic_without_an_error(
    estate: Estate, next_key: NextKey, key_file: Path
) -> None:
    traffic = Traffic(
        key_file,
        {
            ctx: [await estate.keep(ctx, password=f"{ctx.tenant} {n}") for n in range(8)]
            for ctx in (estate.world.acme, estate.world.globex)
        },
    )
    await traffic.run(estate, next_key)
    assert min(traffic.opened, traffic.stored) > 20
    file = read_key_file(key_file)
    assert set(_wrapped_by(estate)) == {f"file:{file.current}"}
    for name in set(file.keys) - {file.current}:
        remove_key(key_file, name)
    last = Estate.build(estate.world, FileKeys(key_file))
    for ctx, kept in traffic.kept.items():
        for n, (owner, version) in enumerate(kept):
            assert await last.read(ctx, owner, version) == {"password": f"{ctx.tenant} {n}"}
        assert "vault.refused" not in await estate.actions(ctx)


@pytest.mark.req("POOL-4")
async def test_the_vault_moves_to_a_transit_engine_and_lives_through_its_rotations(
    estate: Estate, tmp_path: Path
) -> None:
    acme, service = estate.world.acme, Transit()
    owner, _ = await estate.keep(acme, password="x")
    async with served(service, service.handle):
        uri = f"vault-transit:{service.url}/v1/transit#tenantry"
        transit = key_encryption(uri, tmp_path, {"VAULT_TOKEN": TOKEN})
        moving = Estate.build(estate.world, Keepers([transit, estate.keys]))
        assert await moving.read(acme, owner, 1) == {"password": "x"}
        assert await moving.rotation.rewrap(acme) == Moved(1, 0)
        there = Estate.build(estate.world, transit)
        assert await there.read(acme, owner, 1) == {"password": "x"}
        service.rotate()
        assert await there.rotation.rewrap(acme) == Moved(1, 0)
        assert _wrapped_by(estate) == ["vault-transit:v1/transit#tenantry:v2"]
        assert await there.read(acme, owner, 1) == {"password": "x"}
        service.calls.clear()
        await asyncio.gather(*(there.read(acme, owner, 1) for _ in range(10)))
        assert service.calls == []  # the clear key is held …
        there.clock.advance(301)
        await asyncio.gather(*(there.read(acme, owner, 1) for _ in range(10)))
        assert service.calls == ["POST /v1/transit/decrypt/tenantry"]  # … for five minutes
        there.clock.advance(301)
        service.fail_with = 503
        with pytest.raises(VaultUnavailable):
            await there.read(acme, owner, 1)
        assert "vault.refused" not in await estate.actions(acme)  # nobody's attack
        await transit.close()


@pytest.mark.req("POOL-4")
async def test_a_keeper_that_does_not_keep_never_replaces_a_key_that_opens(
    estate: Estate, tmp_path: Path
) -> None:
    acme, service = estate.world.acme, Transit()
    owner, _ = await estate.keep(acme, password="x")
    async with served(service, service.handle):
        uri = f"vault-transit:{service.url}/v1/transit#tenantry"
        transit = key_encryption(uri, tmp_path, {"VAULT_TOKEN": TOKEN})
        moving = Estate.build(estate.world, Keepers([transit, estate.keys]))

        async def forget(path: str) -> None:
            if path.endswith("/decrypt/tenantry"):
                service.versions[:] = [token_bytes(32)]

        service.during = forget
        with pytest.raises(VaultUnavailable, match="does not keep"):
            await moving.rotation.rewrap(acme)
        await transit.close()
    assert await estate.read(acme, owner, 1) == {"password": "x"}


@pytest.mark.req("POOL-4", "DB-7")
async def test_what_was_sealed_under_destroyed_keys_opens_nowhere_again(estate: Estate) -> None:
    acme, globex = estate.world.acme, estate.world.globex
    owner, _ = await estate.keep(acme, password="gone")
    theirs, _ = await estate.keep(globex, password="kept")
    pending = await estate.vault.seal(acme, connector(), {"password": Secret("on its way")})
    other = Estate.build(estate.world, estate.keys)
    await other.read(acme, owner, 1)  # holds the clear key in memory
    assert await estate.rotation.destroy(acme) == 1
    for process in (estate, other):
        with pytest.raises(SecretUnreadable):
            await process.vault.open(acme, owner, 1)
    with pytest.raises(Conflict):
        async with estate.world.db.tenant(acme) as tx:
            await estate.vault.store(tx, pending)
    assert estate.sql(
        "SELECT wrapped FROM tenantry.vault_keys WHERE destroyed_at > '2026-01-01'"
    ) == [(None,)]
    assert await estate.rotation.rewrap(acme) == Moved(0, 0)
    assert await estate.rotation.reseal(acme) == Moved(0, 0)
    assert await estate.read(globex, theirs, 1) == {"password": "kept"}
    fresh, _ = await estate.keep(acme, password="of a new beginning")
    assert await estate.read(acme, fresh, 1) == {"password": "of a new beginning"}
    acted = await estate.actions(acme)
    assert acted == [
        "vault.sealed",
        "vault.destroyed",
        "vault.refused",
        "vault.refused",
        "vault.sealed",
    ]


@pytest.mark.req("POOL-4")
async def test_a_rotation_never_undoes_a_destruction_or_a_newer_secret(
    estate: Estate, tmp_path: Path
) -> None:
    acme, service = estate.world.acme, Transit()
    async with served(service, service.handle):
        uri = f"vault-transit:{service.url}/v1/transit#tenantry"
        transit = key_encryption(uri, tmp_path, {"VAULT_TOKEN": TOKEN})
        one, two = (Estate.build(estate.world, transit) for _ in range(2))
        owner, _ = await two.keep(acme, password="old")
        await two.rotation._data_keys.add(acme)
        calls = 0

        async def forget_meanwhile(path: str) -> None:
            nonlocal calls
            calls += path.endswith("/decrypt/tenantry")
            if calls == 2:  # the first opens the newest key, the second the secret's
                async with two.world.db.tenant(acme) as tx:
                    await two.vault.forget(tx, owner)

        service.during = forget_meanwhile
        assert await one.rotation.renew(acme) == Moved(0, 0)
        assert estate.sql("SELECT * FROM tenantry.vault_secrets") == []

        async def destroy_meanwhile(path: str) -> None:
            if path.endswith("/encrypt/tenantry"):
                await two.rotation.destroy(acme)

        service.during = destroy_meanwhile
        service.rotate()
        assert await one.rotation.rewrap(acme) == Moved(0, 0)
        assert estate.sql("SELECT DISTINCT wrapped FROM tenantry.vault_keys") == [(None,)]
        await transit.close()


@pytest.mark.req("POOL-4", "SEC-4")
async def test_what_does_not_open_is_left_counted_and_recorded_and_the_rest_goes_on(
    estate: Estate, next_key: NextKey
) -> None:
    acme = estate.world.acme
    kept = [await estate.keep(acme, password=str(n)) for n in range(3)]
    changed = "UPDATE tenantry.vault_secrets SET sealed = sealed || 'x'::bytea WHERE owner_id = %s"
    estate.sql(changed, kept[1][0].id)
    assert await estate.rotation.reseal(acme) == Moved(2, 1)
    estate.sql("UPDATE tenantry.vault_keys SET wrapped = 'x' WHERE key_version = 1")
    next_key()
    assert await estate.rotation.rewrap(acme) == Moved(1, 1)
    assert await estate.read(acme, *kept[0]) == {"password": "0"}
    assert (await estate.actions(acme))[3:] == ["vault.rotated", "vault.refused"] * 2
