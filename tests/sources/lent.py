"""What the platform lends to connectors, over a test's world."""

from pathlib import Path

from tenantry.connectors.base import ConnectorServices
from tenantry.connectors.guarding import reading_places
from tenantry.pools.base import PoolCaps
from tenantry.pools.pools import Pools
from tenantry.security.egress.guard import EgressGuard
from tenantry.security.egress.policy import EgressPolicy
from tenantry.security.vault.keepers import key_encryption
from tenantry.security.vault.vault import Vault
from tests.worlds import World


def lent(
    world: World,
    files_dir: Path | None = None,
    caps: PoolCaps | None = None,
    egress_allow: str = "",
) -> ConnectorServices:
    """Services with a vault of their own key, pools of these caps, and this way out."""
    keys = key_encryption("", world.data_dir, {}, world.clock)
    return ConnectorServices(
        db=world.db,
        audit=world.audit,
        clock=world.clock,
        files_dir=files_dir or world.data_dir / "files",
        vault=Vault(world.db, keys, world.audit, world.clock),
        pools=Pools(caps or PoolCaps(), world.audit, world.clock),
        egress=EgressGuard(world.audit, EgressPolicy.parse(egress_allow)),
        reading=reading_places(),
    )
