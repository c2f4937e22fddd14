"""What processes remember of tenants' own accounts, and how they let go of clients and keys."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tenantry.core.clock import SystemClock
from tenantry.core.errors import AccountRemoved, BoundaryCrossed, NotFound
from tenantry.core.secret import Secret
from tenantry.isolation.context import TenantContext
from tenantry.isolation.notices import Notices
from tenantry.providers.base import UpstreamAccount
from tenantry.providers.directory import ModelDirectory
from tenantry.providers.embedded_e5 import EmbeddedE5
from tenantry.providers.own.accounts import AccountServices, ProviderAccounts
from tenantry.providers.own.clients import OwnClients
from tenantry.providers.own.models import OwnModels
from tenantry.providers.own.records import AccountChange, Description, NewAccount, OwnAccount
from tenantry.providers.registry import ProviderRegistry
from tenantry.security.egress.guard import EgressGuard
from tenantry.security.egress.policy import EgressPolicy
from tenantry.security.vault.file_keys import FileKeys
from tenantry.security.vault.key_file import create_key_file
from tenantry.security.vault.vault import Vault
from tests.providers.asking import answer_of
from tests.providers.scripted import ScriptedProvider
from tests.worlds import World

NAME = "ours/scripted-1"


class Process:
    """What one server process has: its own memory of accounts, and its own clients."""

    def __init__(self, world: World, key_file: Path, most: int = 512) -> None:
        vault = Vault(world.db, FileKeys(key_file), world.audit, world.clock)
        guard = EgressGuard(world.audit, EgressPolicy.parse("127.0.0.1"))
        self.notices = Notices(world.auth_db, world.clock)
        self.clients = OwnClients(vault, guard, most)
        self.own = OwnModels(world.db, self.clients, world.clock, self.notices.is_live)
        self.notices.add(self.own.listener())
        services = AccountServices(world.db, vault, guard, world.audit, self.own.changed)
        self.accounts = ProviderAccounts(services)
        registry = ProviderRegistry({}, EmbeddedE5(SystemClock()))
        self.directory = ModelDirectory(registry, self.own, self.accounts)

    async def ask(self, ctx: TenantContext, name: str = NAME) -> UpstreamAccount:
        """One call; whose key it went out with."""
        route = await self.directory.resolve(ctx, name)
        await answer_of(route.model)
        return route.account


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "vault.key"
    create_key_file(path)
    return path


@asynccontextmanager
async def running(world: World, key_file: Path, most: int = 512) -> AsyncIterator[Process]:
    process = Process(world, key_file, most)
    task = asyncio.create_task(process.notices.run())
    try:
        await until(process.notices.is_live)
        yield process
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await process.own.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # what is awaited is the database
            await asyncio.sleep(0.005)


async def add(
    process: Process, ctx: TenantContext, provider: ScriptedProvider, name: str = "ours"
) -> OwnAccount:
    described = Description("openai_compatible", [{"name": "scripted-1"}], provider.url + "/v1")
    key = Secret(f"sk-{name}-of-{ctx.request_id}")
    return (await process.accounts.create(ctx, NewAccount(name, described, key))).account


def came_with(provider: ScriptedProvider) -> list[str]:
    return [call.headers["authorization"].removeprefix("Bearer ") for call in provider.calls]


@pytest.mark.req("COST-4", "POOL-4")
async def test_every_process_hears_of_a_rotation_and_a_removal(
    world: World, key_file: Path, provider: ScriptedProvider
) -> None:
    async with running(world, key_file) as here, running(world, key_file) as there:
        account = await add(here, world.acme, provider)
        first = (await there.ask(world.acme)).version
        assert len(there.clients._clients) == 1
        await here.accounts.change(world.acme, account.id, AccountChange(key=Secret("sk-new")))
        await until(lambda: not there.clients._clients)
        assert (await here.ask(world.acme)).version == first + 1
        assert (await there.ask(world.acme)).version == first + 1
        assert came_with(provider) == ["sk-ours-of-req-acme", "sk-new", "sk-new"]
        await here.accounts.remove(world.acme, account.id)
        await until(lambda: not there.clients._clients)
        for process in (here, there):
            with pytest.raises(AccountRemoved):
                await process.ask(world.acme)
        assert len(provider.calls) == 3


@pytest.mark.req("COST-4")
async def test_what_is_remembered_costs_no_look_up_and_without_notices_nothing_is(
    world: World, key_file: Path, provider: ScriptedProvider
) -> None:
    deaf = Process(world, key_file)
    account = await add(deaf, world.acme, provider)
    await deaf.ask(world.acme)
    async with running(world, key_file) as hearing:
        first = await hearing.own.of(world.acme)
        assert await hearing.own.of(world.acme) is first
    await hearing.accounts.remove(world.acme, account.id)
    with pytest.raises(AccountRemoved):
        await deaf.ask(world.acme)
    await deaf.own.close()


@pytest.mark.req("COST-4", "CTX-3")
async def test_no_client_serves_two_tenants_or_two_accounts(
    world: World, key_file: Path, provider: ScriptedProvider
) -> None:
    async with running(world, key_file) as process:
        for ctx in (world.acme, world.globex):
            for name in ("ours", "others"):
                await add(process, ctx, provider, name)
        for _ in range(2):
            for ctx in (world.acme, world.globex):
                for name in ("ours", "others"):
                    asked = await process.ask(ctx, f"{name}/scripted-1")
                    assert (asked.owner, asked.name) == (ctx.tenant, name)
        ports = {
            (key, call.port) for key, call in zip(came_with(provider), provider.calls, strict=True)
        }
        assert len(ports) == len({port for _, port in ports}) == 4
        own = (await process.own.of(world.acme)).accounts["ours"]
        client = await process.clients.client(world.acme, own)
        with pytest.raises(BoundaryCrossed):
            client.asked_by(world.globex)
        # Another tenant that got hold of the row would still have no key to open.
        with pytest.raises(NotFound):
            await process.clients.client(world.globex, own)


@pytest.mark.req("COST-4")
async def test_clients_are_few_and_the_least_used_is_let_go(
    world: World, key_file: Path, provider: ScriptedProvider
) -> None:
    async with running(world, key_file, most=2) as process:
        for name in ("one", "two", "three"):
            await add(process, world.acme, provider, name)
        for name in ("one", "two", "one", "three"):
            await process.ask(world.acme, f"{name}/scripted-1")
        kept = [key.account for key in process.clients._clients]
        found = (await process.own.of(world.acme)).accounts
        assert kept == [found["one"].id, found["three"].id]
        await until(lambda: not process.clients._ending)
        assert (await process.ask(world.acme, "two/scripted-1")).name == "two"


@pytest.mark.req("COST-4")
async def test_an_account_of_an_earlier_name_is_another_one(
    world: World, key_file: Path, provider: ScriptedProvider
) -> None:
    # What a breaker or a pool remembers of the one must not meet the other.
    async with running(world, key_file) as process:
        first = await add(process, world.acme, provider)
        before = await process.ask(world.acme)
        await process.accounts.remove(world.acme, first.id)
        await add(process, world.acme, provider)
        after = await process.ask(world.acme)
        assert (before.name, before.owner) == (after.name, after.owner)
        assert before.version < after.version
