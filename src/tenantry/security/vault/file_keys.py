"""Key-encryption keys from a file.

Taken up anew when the file changes, so that a rotation by another process needs no restart.
"""

import asyncio
from pathlib import Path

from tenantry.core.errors import SecretUnreadable, StartupRefused, VaultUnavailable
from tenantry.security.vault.envelope import associated_data, decrypt, encrypt
from tenantry.security.vault.key_file import KeyFile, read_key_file
from tenantry.security.vault.keys import KeyBinding, Wrapped

_PREFIX = "file:"


class FileKeys:
    """`KeyEncryption` over a key file. Keys are read again whenever the file is another one."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            StartupRefused: it is missing, readable by others, or no key file.
        """
        self._path = path
        self._file = read_key_file(path)
        self._seen = _look(path)

    def __repr__(self) -> str:
        return f"FileKeys({str(self._path)!r})"

    def holds(self, by: str) -> bool:
        """Whether a file's key wrapped it."""
        return by.startswith(_PREFIX)

    async def current(self) -> str:
        """The key that wraps now.

        Raises:
            VaultUnavailable: the file is gone, or not as it must be.
        """
        return _PREFIX + (await self._read()).current

    async def wrap(self, key: bytes, binding: KeyBinding) -> Wrapped:
        """The data key, wrapped by the current key; see `KeyEncryption.wrap`."""
        file = await self._read()
        by = _PREFIX + file.current
        return Wrapped(encrypt(file.keys[file.current], key, _bound_to(by, binding)), by)

    async def unwrap(self, wrapped: Wrapped, binding: KeyBinding) -> bytes:
        """The data key again; see `KeyEncryption.unwrap`."""
        file = await self._read()
        key = file.keys.get(wrapped.by.removeprefix(_PREFIX))
        if key is None:
            raise SecretUnreadable
        return decrypt(key, wrapped.blob, _bound_to(wrapped.by, binding))

    async def close(self) -> None:
        """Nothing is open."""

    async def _read(self) -> KeyFile:
        return await asyncio.to_thread(self._read_if_changed)

    def _read_if_changed(self) -> KeyFile:
        try:
            seen = _look(self._path)
            if seen != self._seen:
                self._file, self._seen = read_key_file(self._path), seen
        except (OSError, StartupRefused) as error:
            raise VaultUnavailable from error
        return self._file


def _look(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode


def _bound_to(by: str, binding: KeyBinding) -> bytes:
    return associated_data(by) + binding.encoded()
