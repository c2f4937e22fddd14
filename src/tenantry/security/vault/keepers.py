"""From `TENANTRY_VAULT_KEYS` to the keeper it names, or to several of them.

    file:/etc/tenantry/vault.key
    vault-transit:https://vault.example/v1/transit#tenantry
    aws-kms:arn:aws:kms:eu-central-1:111122223333:key/…
    gcp-kms:projects/…/locations/…/keyRings/…/cryptoKeys/…

The first one wraps. Further ones, after a space, only open what they wrapped before: so a
deployment moves from one keeper to another while it runs.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from tenantry.core.clock import Clock, SystemClock
from tenantry.core.errors import SecretUnreadable, StartupRefused
from tenantry.security.vault.key_file import create_key_file
from tenantry.security.vault.keys import KeyBinding, KeyEncryption, Wrapped

KINDS = ("file", "vault-transit", "aws-kms", "gcp-kms")


class Keepers:
    """`KeyEncryption` over several keepers: the first wraps, each opens its own."""

    def __init__(self, keepers: Sequence[KeyEncryption]) -> None:
        self._keepers = tuple(keepers)

    def __repr__(self) -> str:
        return f"Keepers({list(self._keepers)!r})"

    def holds(self, by: str) -> bool:
        """Whether one of them wrapped it."""
        return any(keeper.holds(by) for keeper in self._keepers)

    async def current(self) -> str:
        """The first one's key."""
        return await self._keepers[0].current()

    async def wrap(self, key: bytes, binding: KeyBinding) -> Wrapped:
        """The data key, wrapped by the first one."""
        return await self._keepers[0].wrap(key, binding)

    async def unwrap(self, wrapped: Wrapped, binding: KeyBinding) -> bytes:
        """The data key again, from whoever wrapped it; see `KeyEncryption.unwrap`."""
        for keeper in self._keepers:
            if keeper.holds(wrapped.by):
                return await keeper.unwrap(wrapped, binding)
        raise SecretUnreadable

    async def close(self) -> None:
        """Drop the connections of all."""
        for keeper in self._keepers:
            await keeper.close()


def key_encryption(
    uri: str,
    data_dir: Path,
    environ: Mapping[str, str] = os.environ,
    clock: Clock | None = None,
) -> KeyEncryption:
    """The keeper that a setting names; reads a key file, and sends nothing yet.

    Args:
        uri: as in `TENANTRY_VAULT_KEYS`; empty is a file below `data_dir`, made if there is none.
        data_dir: where that file is.
        environ: credentials for the keeper, by the names that its own tools use.
        clock: the machine's unless given.

    Raises:
        StartupRefused: the setting or what it names cannot be used.
    """
    if not uri.strip():
        path = default_key_file(data_dir)
        create_key_file(path)
        return _keeper(f"file:{path}", environ, clock or SystemClock())
    found = [_keeper(each, environ, clock or SystemClock()) for each in uri.split()]
    return found[0] if len(found) == 1 else Keepers(found)


def default_key_file(data_dir: Path) -> Path:
    """The key file of a deployment that names none."""
    return data_dir / "vault.key"


def _keeper(uri: str, environ: Mapping[str, str], clock: Clock) -> KeyEncryption:
    """One keeper; each kind is imported when it is named, and brings only its own libraries."""
    kind, _, rest = uri.partition(":")
    if kind == "file":
        from tenantry.security.vault.file_keys import FileKeys

        return FileKeys(Path(rest).expanduser())
    if kind == "vault-transit":
        from tenantry.security.vault.transit_keys import TransitKeys

        return TransitKeys(rest, environ)
    if kind == "aws-kms":
        from tenantry.security.vault.aws_keys import AwsKeys

        return AwsKeys(rest, environ, clock)
    if kind == "gcp-kms":
        from tenantry.security.vault.gcp_keys import GcpKeys

        return GcpKeys(rest, environ, clock)
    # Not the text itself: a credential may have been pasted here.
    raise StartupRefused(f"TENANTRY_VAULT_KEYS starts with one of {', '.join(KINDS)}.")
