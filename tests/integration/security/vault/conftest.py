"""A vault over a key file, in a world of two tenants."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tenantry.core.clock import ManualClock
from tenantry.core.ids import new_id
from tenantry.core.secret import Secret
from tenantry.isolation.context import TenantContext
from tenantry.security.vault.envelope import SecretOwner
from tenantry.security.vault.file_keys import FileKeys
from tenantry.security.vault.key_file import add_key, create_key_file, read_key_file, use_key
from tenantry.security.vault.keys import KeyEncryption
from tenantry.security.vault.rotation import Rotation
from tenantry.security.vault.vault import Vault
from tests.worlds import World


@dataclass
class Estate:
    """A world with a vault in it."""

    world: World
    keys: KeyEncryption
    clock: ManualClock
    vault: Vault
    rotation: Rotation

    @classmethod
    def build(cls, world: World, keys: KeyEncryption) -> "Estate":
        clock = ManualClock(datetime(2026, 5, 1, 9, tzinfo=UTC))
        parts = (world.db, keys, world.audit, clock)
        return cls(world, keys, clock, Vault(*parts), Rotation(*parts))

    async def keep(
        self, ctx: TenantContext, owner: SecretOwner | None = None, **fields: str
    ) -> tuple[SecretOwner, int]:
        """Seal and store; whose it is, and its version."""
        owner = owner or connector()
        secrets = {name: Secret(text) for name, text in fields.items()}
        sealed = await self.vault.seal(ctx, owner, secrets)
        async with self.world.db.tenant(ctx) as tx:
            await self.vault.store(tx, sealed)
        return owner, sealed.version

    async def read(self, ctx: TenantContext, owner: SecretOwner, version: int) -> dict[str, str]:
        """What opening gives, in the clear."""
        opened = await self.vault.open(ctx, owner, version)
        assert opened.version == version
        return {name: secret.reveal() for name, secret in opened.fields.items()}

    async def actions(self, ctx: TenantContext, prefix: str = "vault.") -> list[str]:
        """The tenant's recorded actions of the vault, oldest first."""
        events = await self.world.audit_events(ctx)
        return [e["action"] for e in events if e["action"].startswith(prefix)]

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """A statement past row-level security, as whoever holds the database could run it."""
        with self.world.admin() as admin:
            cursor = admin.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []


def connector() -> SecretOwner:
    """A connector that is nobody else's."""
    return SecretOwner("connector", new_id())


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "vault.key"
    create_key_file(path)
    return path


@pytest.fixture
def next_key(key_file: Path) -> Callable[[], str]:
    """Makes a fresh key-encryption key the current one, and tells its id."""

    def rotate() -> str:
        name = add_key(key_file)
        use_key(key_file, name)
        assert read_key_file(key_file).current == name
        return name

    return rotate


@pytest.fixture
def estate(world: World, key_file: Path) -> Estate:
    return Estate.build(world, FileKeys(key_file))
