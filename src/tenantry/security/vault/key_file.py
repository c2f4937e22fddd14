"""Key-encryption keys in a file of mode 0600: one that wraps, and older ones that still open.

Every change writes a new file and renames it over the old one, under a lock, so that a reader sees
one or the other and two rotations never lose a key.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tenantry.core.errors import InvalidRequest, StartupRefused
from tenantry.security.vault.envelope import KEY_BYTES


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The keys of a file, by their ids.

    Attributes:
        current: id of the key that wraps.
        keys: every key that opens.
    """

    current: str
    keys: Mapping[str, bytes] = field(repr=False)


def read_key_file(path: Path) -> KeyFile:
    """The keys of a file.

    Raises:
        StartupRefused: it is missing, readable by others, or no key file.
    """
    try:
        mode = path.stat().st_mode & 0o777
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StartupRefused(f"The vault's key file {path} cannot be read.") from error
    if mode & 0o077:
        raise StartupRefused(f"{path} is readable by others. Run: chmod 600 {path}")
    try:
        stored = json.loads(text)
        found = KeyFile(
            str(stored["current"]),
            {name: bytes.fromhex(key) for name, key in stored["keys"].items()},
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        # Without its cause: the parser's message quotes the text.
        raise StartupRefused(f"{path} is not a key file of the vault.") from None
    if found.current not in found.keys or any(len(k) != KEY_BYTES for k in found.keys.values()):
        raise StartupRefused(f"{path} is not a key file of the vault.")
    return found


def create_key_file(path: Path) -> None:
    """A file with one fresh key, unless there is one; of two processes, one makes it.

    Raises:
        StartupRefused: it cannot be written.
    """
    if path.exists():
        return
    first = secrets.token_hex(4)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = _draft(path, KeyFile(first, {first: secrets.token_bytes(KEY_BYTES)}))
        try:
            os.link(draft, path)  # fails if another process was first; then theirs counts
        except FileExistsError:
            return
        finally:
            draft.unlink()
    except OSError as error:
        raise StartupRefused(f"The vault's key file {path} cannot be written.") from error


def add_key(path: Path) -> str:
    """Add a fresh key, which opens but does not wrap yet; its id.

    Where several servers have copies of the file, each gets the new one before `use_key`.

    Raises:
        StartupRefused: the file is not as it must be.
    """
    with _changing(path) as file:
        name = secrets.token_hex(4)
        _replace(path, KeyFile(file.current, {**file.keys, name: secrets.token_bytes(KEY_BYTES)}))
    return name


def use_key(path: Path, name: str) -> None:
    """Wrap with the key `name` from now on.

    Raises:
        InvalidRequest: there is no such key.
        StartupRefused: the file is not as it must be.
    """
    with _changing(path) as file:
        if name not in file.keys:
            raise InvalidRequest(f"There is no key {name!r} in the file.")
        _replace(path, KeyFile(name, file.keys))


def remove_key(path: Path, name: str) -> None:
    """Remove a key for good: what it still wraps, backups included, opens never again.

    Raises:
        InvalidRequest: it is the key that wraps, or there is none of this id.
        StartupRefused: the file is not as it must be.
    """
    with _changing(path) as file:
        if name not in file.keys:
            raise InvalidRequest(f"There is no key {name!r} in the file.")
        if name == file.current:
            raise InvalidRequest("This key wraps what is sealed now; use another one first.")
        _replace(path, KeyFile(file.current, {n: k for n, k in file.keys.items() if n != name}))


@contextmanager
def _changing(path: Path) -> Iterator[KeyFile]:
    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield read_key_file(path)
    finally:
        os.close(descriptor)


def _replace(path: Path, file: KeyFile) -> None:
    _draft(path, file).replace(path)


def _draft(path: Path, file: KeyFile) -> Path:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        json.dump(
            {"current": file.current, "keys": {n: k.hex() for n, k in file.keys.items()}}, out
        )
        out.flush()
        os.fsync(out.fileno())
    return draft
