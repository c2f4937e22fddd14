"""Remembered credentials over a real database: every process hears of every change."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from tenantry.core.errors import Unauthenticated
from tenantry.isolation.notices import Notices
from tenantry.isolation.tenants import TenantDirectory
from tenantry.security.auth import Authenticator
from tenantry.security.members import KeyRequest, MemberChange, Members, NewKey
from tenantry.security.refused_sign_ins import RefusedSignIns
from tenantry.security.standing import LONGEST_S, Standing
from tenantry.security.tokens import TokenIssuer
from tests.worlds import World

PEPPER = b"p" * 32


class Process:
    """What one server process has: its own memory of credentials."""

    def __init__(self, world: World, is_live: Callable[[], bool] | None = None) -> None:
        self.notices = Notices(world.auth_db, world.clock)
        self.standing = Standing(world.clock, is_live or self.notices.is_live)
        self.notices.add(self.standing.listener())
        self.members = Members(world.db, PEPPER, world.audit, self.standing, world.clock)
        tokens = TokenIssuer(b"t" * 32, world.clock)
        refused = RefusedSignIns(world.audit, world.clock)
        self.auth = Authenticator(world.auth_db, world.mint, tokens, PEPPER, refused, self.standing)

    async def is_let_in(self, key: NewKey) -> bool:
        """Whether the key is accepted."""
        try:
            await self.auth.context(key.key.reveal(), "r", 10)
        except Unauthenticated:
            return False
        return True

    def remembers(self, key: NewKey) -> bool:
        """Whether the next request needs no look-up."""
        return self.standing.find(key.key.digest(PEPPER)) is not None


@asynccontextmanager
async def _process(world: World) -> AsyncIterator[Process]:
    process = Process(world)
    task = asyncio.create_task(process.notices.run())
    try:
        await _until(process.notices.is_live)
        yield process
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONGEST_S - 2):  # before it is forgotten anyway
        while not condition():  # noqa: ASYNC110  # what is waited for happens in the database
            await asyncio.sleep(0.01)


async def _key(world: World, process: Process) -> NewKey:
    return await process.members.create_key(world.acme, KeyRequest("k", world.acme.member))


@pytest.mark.req("SEC-6")
async def test_a_key_in_use_is_looked_up_once(world: World) -> None:
    async with _process(world) as process:
        key = await _key(world, process)
        assert not process.remembers(key)
        assert await process.is_let_in(key)
        assert process.remembers(key)
        before = world.pools["auth"].stats()["requests_num"]
        assert await process.is_let_in(key)
        assert world.pools["auth"].stats()["requests_num"] == before


@pytest.mark.req("SEC-6")
async def test_a_process_that_revokes_a_key_refuses_it_from_the_next_request_on(
    world: World,
) -> None:
    process = Process(world, lambda: True)  # it believes to hear, and no notice ever comes
    key = await _key(world, process)
    assert await process.is_let_in(key)
    assert process.remembers(key)
    await process.members.revoke_key(world.acme, key.key_id)
    assert not await process.is_let_in(key)


@pytest.mark.req("SEC-6")
@pytest.mark.parametrize("change", ["revoke", "disable", "suspend", "delete"])
async def test_another_process_hears_of_a_change_and_refuses_the_key(
    world: World, change: str
) -> None:
    async with _process(world) as here, _process(world) as there:
        owner = await here.members.create(world.acme, "second", "owner")
        wanted = KeyRequest("k", owner["member_id"])
        key = await here.members.create_key(world.acme, wanted)
        assert await there.is_let_in(key)
        assert there.remembers(key)
        if change == "revoke":
            await here.members.revoke_key(world.acme, key.key_id)
        elif change == "disable":
            disabled = MemberChange(status="disabled")
            await here.members.change(world.acme, owner["member_id"], disabled)
        elif change == "delete":
            await here.members.delete(world.acme, owner["member_id"])
        else:
            await TenantDirectory(world.operator_db).set_status(world.acme.tenant, "suspended")
        await _until(lambda: not there.remembers(key))
        assert not await there.is_let_in(key)


@pytest.mark.req("SEC-6")
async def test_a_neighbours_change_drops_nothing(world: World) -> None:
    async with _process(world) as process:
        key = await _key(world, process)
        other = await process.members.create_key(world.globex, KeyRequest("k", world.globex.member))
        assert await process.is_let_in(key)
        await process.members.revoke_key(world.globex, other.key_id)
        assert process.remembers(key)


@pytest.mark.req("SEC-6")
async def test_a_lost_connection_forgets_everything_and_is_made_anew(world: World) -> None:
    async with _process(world) as process:
        key = await _key(world, process)
        assert await process.is_let_in(key)
        with world.admin() as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = 'tenantry_auth' AND datname = current_database()"
            )
        await _until(lambda: not process.remembers(key))
        await _until(process.notices.is_live)
        assert not process.remembers(key)
        assert await process.is_let_in(key)


@pytest.mark.req("SEC-6")
async def test_a_remembered_key_is_known_only_as_it_was_written(world: World) -> None:
    async with _process(world) as process:
        key = await _key(world, process)
        assert await process.is_let_in(key)
        assert process.remembers(key)
        text = key.key.reveal()
        other = "0" if text[-1] != "0" else "1"
        for wrong in (text[:-1] + other, text[:-7], text + "_aaaaaa", text.replace("live", "dead")):
            with pytest.raises(Unauthenticated):
                await process.auth.context(wrong, "r", 10)
