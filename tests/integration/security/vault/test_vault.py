"""Credentials: sealed at rest, opened by their own tenant, and by nobody and nowhere else."""

import asyncio

import pytest

from tenantry.core.errors import (
    BoundaryCrossed,
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    SecretUnreadable,
)
from tenantry.core.secret import Secret
from tenantry.security.vault.envelope import SecretOwner
from tests.integration.security.vault.conftest import Estate, connector

PASSWORD = "correct horse battery staple"


@pytest.mark.req("POOL-4")
async def test_what_was_sealed_is_opened_by_its_own_tenant(estate: Estate) -> None:
    acme = estate.world.acme
    owner, version = await estate.keep(acme, password=PASSWORD, token="t-ä-😀")
    assert version == 1
    assert await estate.read(acme, owner, 1) == {"password": PASSWORD, "token": "t-ä-😀"}


@pytest.mark.req("POOL-4")
async def test_another_tenant_finds_nothing_as_for_what_never_was(estate: Estate) -> None:
    owner, version = await estate.keep(estate.world.acme, password=PASSWORD)
    for asked in (owner, connector()):
        with pytest.raises(NotFound):
            await estate.vault.open(estate.world.globex, asked, version)


@pytest.mark.req("POOL-4")
async def test_owners_of_one_id_and_two_kinds_have_secrets_of_their_own(estate: Estate) -> None:
    acme = estate.world.acme
    owner, _ = await estate.keep(acme, password="of the connector")
    account = SecretOwner("provider_account", owner.id)
    await estate.keep(acme, account, password="of the account")
    assert await estate.read(acme, owner, 1) == {"password": "of the connector"}
    assert await estate.read(acme, account, 1) == {"password": "of the account"}


@pytest.mark.req("POOL-4")
async def test_a_new_version_leaves_the_one_before_and_no_older_ones(estate: Estate) -> None:
    acme = estate.world.acme
    owner, _ = await estate.keep(acme, password="one")
    assert await estate.keep(acme, owner, password="two") == (owner, 2)
    assert await estate.keep(acme, owner, password="three") == (owner, 3)
    assert await estate.read(acme, owner, 2) == {"password": "two"}
    assert await estate.read(acme, owner, 3) == {"password": "three"}
    with pytest.raises(NotFound):
        await estate.vault.open(acme, owner, 1)


@pytest.mark.req("POOL-4")
async def test_of_two_who_store_at_once_one_is_told_of_the_conflict(estate: Estate) -> None:
    acme, owner = estate.world.acme, connector()
    results = await asyncio.gather(
        *(estate.keep(acme, owner, **{f"field_{n}": str(n)}) for n in range(4)),
        return_exceptions=True,
    )
    assert sum(isinstance(r, Conflict) for r in results) >= 1
    assert all(isinstance(r, Conflict | tuple) for r in results)
    newest = max(r[1] for r in results if isinstance(r, tuple))
    assert len(await estate.read(acme, owner, newest)) == 1  # no two of them in one version


@pytest.mark.req("POOL-4")
async def test_a_version_that_came_too_late_is_not_stored(estate: Estate) -> None:
    acme, owner = estate.world.acme, connector()
    late = await estate.vault.seal(acme, owner, {"password": Secret("late")})
    for text in ("one", "two", "three"):  # the first of which is not there any more
        await estate.keep(acme, owner, password=text)
    with pytest.raises(Conflict):
        async with estate.world.db.tenant(acme) as tx:
            await estate.vault.store(tx, late)
    assert await estate.read(acme, owner, 3) == {"password": "three"}


@pytest.mark.req("POOL-4")
async def test_nothing_is_stored_when_the_callers_transaction_is_not(estate: Estate) -> None:
    acme, owner = estate.world.acme, connector()
    sealed = await estate.vault.seal(acme, owner, {"password": Secret(PASSWORD)})

    async def store_and_fail() -> None:
        async with estate.world.db.tenant(acme) as tx:
            await estate.vault.store(tx, sealed)
            raise Forbidden

    with pytest.raises(Forbidden):
        await store_and_fail()
    with pytest.raises(NotFound):
        await estate.vault.open(acme, owner, 1)


@pytest.mark.req("POOL-4", "SEC-4")
async def test_what_was_sealed_for_one_tenant_is_not_stored_for_another(estate: Estate) -> None:
    acme, globex = estate.world.acme, estate.world.globex
    sealed = await estate.vault.seal(acme, connector(), {"password": Secret(PASSWORD)})
    with pytest.raises(BoundaryCrossed):
        async with estate.world.db.tenant(globex) as tx:
            await estate.vault.store(tx, sealed)
    assert estate.sql("SELECT * FROM tenantry.vault_secrets") == []
    assert await estate.actions(globex) == ["vault.refused"]


@pytest.mark.req("POOL-4")
async def test_a_forgotten_owner_has_no_secrets_and_others_keep_theirs(estate: Estate) -> None:
    acme = estate.world.acme
    gone, _ = await estate.keep(acme, password="gone")
    kept, _ = await estate.keep(acme, password="kept")
    async with estate.world.db.tenant(acme) as tx:
        await estate.vault.forget(tx, gone)
    with pytest.raises(NotFound):
        await estate.vault.open(acme, gone, 1)
    assert await estate.read(acme, kept, 1) == {"password": "kept"}


@pytest.mark.req("POOL-4")
async def test_what_cannot_be_kept_is_refused_without_repeating_it(estate: Estate) -> None:
    for fields in (
        {},
        {"Pass": "x"},
        {"pass word": "x"},
        {"password\n": "x"},
        {"p" * 64: "x"},
        {"password": "x" * 65_537},
        {"password": "\ud800"},
        {"password": "a\x00b"},
        {f"f{n}": "x" for n in range(33)},
    ):
        with pytest.raises(InvalidRequest) as refused:
            await estate.keep(estate.world.acme, None, **fields)
        assert len(str(refused.value)) < 100
    assert estate.sql("SELECT * FROM tenantry.vault_keys") == []


@pytest.mark.req("POOL-4", "SEC-4")
async def test_storing_is_recorded_and_opening_is_not(estate: Estate) -> None:
    acme = estate.world.acme
    owner, _ = await estate.keep(acme, password=PASSWORD)
    await estate.read(acme, owner, 1)
    assert await estate.actions(acme) == ["vault.sealed"]
    (event,) = await estate.world.audit_events(acme)
    assert event["target_digest"] == estate.world.audit.digest(str(owner.id))
    assert event["detail"] == {"owner": "connector", "version": 1, "fields": ["password"]}


@pytest.mark.req("POOL-4")
async def test_the_longest_secret_and_the_most_fields_are_kept(estate: Estate) -> None:
    acme = estate.world.acme
    fields = {f"f{n}": "ä" * 32_768 for n in range(32)}
    owner, _ = await estate.keep(acme, None, **fields)
    assert await estate.read(acme, owner, 1) == fields


@pytest.mark.req("POOL-4")
async def test_many_first_secrets_at_once_share_one_data_key(estate: Estate) -> None:
    acme = estate.world.acme
    kept = await asyncio.gather(*(estate.keep(acme, password=str(n)) for n in range(12)))
    for n, (owner, version) in enumerate(kept):
        assert await estate.read(acme, owner, version) == {"password": str(n)}
    assert estate.sql("SELECT max(key_version), max(seals) FROM tenantry.vault_keys") == [(1, 12)]


@pytest.mark.req("POOL-4")
async def test_a_second_process_with_the_same_key_file_opens_it(estate: Estate) -> None:
    owner, _ = await estate.keep(estate.world.acme, password=PASSWORD)
    other = Estate.build(estate.world, estate.keys)
    assert await other.read(estate.world.acme, owner, 1) == {"password": PASSWORD}


@pytest.mark.req("POOL-4")
async def test_an_error_about_a_secret_does_not_hold_it(estate: Estate) -> None:
    acme = estate.world.acme
    owner, _ = await estate.keep(acme, password=PASSWORD)
    estate.sql("UPDATE tenantry.vault_secrets SET sealed = sealed || 'x'::bytea")
    with pytest.raises(SecretUnreadable) as raised:
        await estate.vault.open(acme, owner, 1)
    assert raised.value.__cause__ is None
    assert PASSWORD not in repr(raised.getrepr())
