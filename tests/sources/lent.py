"""What the platform lends to connectors, over a test's world."""

from pathlib import Path

from tenantry.connectors.base import ConnectorServices
from tenantry.pools.base import PoolCaps
from tenantry.pools.pools import Pools
from tenantry.security.vault.keepers import key_encryption
from tenantry.security.vault.vault import Vault
from tests.worlds import World


def lent(
    world: World, files_dir: Path | None = None, caps: PoolCaps | None = None
) -> ConnectorServices:
    """Services with a vault of their own key, and pools of these caps."""
    keys = key_encryption("", world.data_dir, {}, world.clock)
    return ConnectorServices(
        db=world.db,
        audit=world.audit,
        clock=world.clock,
        files_dir=files_dir or world.data_dir / "files",
        vault=Vault(world.db, keys, world.audit, world.clock),
        pools=Pools(caps or PoolCaps(), world.audit, world.clock),
    )
