"""A tenant's data files on disk: `<root>/<tenant>/<sha-256 of the content>.parquet`, mode 0600.

Threat: a path, link or row that was forged, or files mixed up by a restore, give one tenant the
file of another.
Invariant: no path is ever stored or taken from anybody. It is made of the context's tenant and of a
hash, opened without following links, and what was opened must be a plain file of ours, readable by
nobody else, whose content has that hash.
"""

import hashlib
import os
import secrets
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tenantry.core.clock import Clock
from tenantry.core.errors import StoreUnavailable
from tenantry.core.ids import TenantId

Defect = Literal["missing", "not a plain file of ours", "content changed"]
_MOST_REMEMBERED = 4096
_INCOMING = ".incoming-"
_STALE_AFTER_S = 24 * 3600
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a named pipe put in a file's place would wait for ever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Unfit(Exception):
    """A stored file is not what its row says; `place` is its number among those asked for."""

    def __init__(self, defect: Defect, place: int) -> None:
        super().__init__(defect)
        self.defect = defect
        self.place = place


@dataclass(frozen=True, slots=True)
class _Wanted:
    tenant: TenantId
    digest: bytes
    place: int


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file whose content was found right; any later change to it changes one of these."""

    tenant: TenantId
    digest: bytes
    device: int
    inode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int


@dataclass(frozen=True, slots=True)
class Incoming:
    """A new file that has no name that anybody would look for yet."""

    descriptor: int
    name: str


class StoredFiles:
    """Opens, writes and removes files, within one tenant at a time. Its methods block."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self._root = root
        self._clock = clock
        self._seen: dict[_Seen, None] = {}
        self._lock = threading.Lock()

    @contextmanager
    def opened(self, tenant: TenantId, digests: Sequence[bytes]) -> Iterator[list[int]]:
        """Descriptors, for reading, of the tenant's files with these contents, in order.

        A content is hashed the first time, and again whenever its file was touched.

        Raises:
            Unfit: there is none, or something else is in its place.
        """
        with ExitStack() as stack:
            descriptors = []
            for place, digest in enumerate(digests):
                descriptors.append(self._open(tenant, digest, place))
                stack.callback(os.close, descriptors[-1])
                self._verify(descriptors[-1], _Wanted(tenant, digest, place))
            yield descriptors

    @contextmanager
    def incoming(self, tenant: TenantId, content: bytes = b"") -> Iterator[Incoming]:
        """A new file in the tenant's folder; gone when the block ends, unless it was kept.

        Raises:
            StoreUnavailable: the disk is full or not writable.
        """
        with ExitStack() as stack:
            with _storing():
                made = self._create(tenant, stack)
                with open(made.descriptor, "wb", closefd=False) as file:
                    file.write(content)
            yield made

    def keep(self, tenant: TenantId, incoming: Incoming, digest: bytes) -> None:
        """Give a new file the name of its content, durably.

        Raises:
            StoreUnavailable: the disk is full or not writable.
        """
        with ExitStack() as stack, _storing():
            folder = self._folder(tenant, stack)
            os.fsync(incoming.descriptor)
            os.rename(incoming.name, _file_name(digest), src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)

    def remove(self, tenant: TenantId, digest: bytes) -> None:
        """Remove a file; that there is none is no error."""
        with ExitStack() as stack, _storing(), suppress(FileNotFoundError):
            _remove(_file_name(digest), self._folder(tenant, stack))

    def _folder(self, tenant: TenantId, stack: ExitStack) -> int:
        root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, root)
        folder = os.open(str(tenant), _FOLDER, dir_fd=root)
        stack.callback(os.close, folder)
        return folder

    def _create(self, tenant: TenantId, stack: ExitStack) -> Incoming:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            (self._root / str(tenant)).mkdir(mode=0o700)
        folder = self._folder(tenant, stack)
        self._remove_stale(folder)
        name = f"{_INCOMING}{secrets.token_hex(16)}"
        descriptor = os.open(name, _NEW, 0o600, dir_fd=folder)
        stack.callback(os.close, descriptor)
        stack.callback(_remove, name, folder)
        return Incoming(descriptor, name)

    def _open(self, tenant: TenantId, digest: bytes, place: int) -> int:
        try:
            with ExitStack() as stack:
                return os.open(_file_name(digest), _FILE, dir_fd=self._folder(tenant, stack))
        except FileNotFoundError as error:
            raise Unfit("missing", place) from error
        except OSError as error:
            raise Unfit("not a plain file of ours", place) from error

    def _verify(self, descriptor: int, wanted: _Wanted) -> None:
        found = os.fstat(descriptor)
        is_plain = stat.S_ISREG(found.st_mode) and not found.st_mode & 0o077
        if not is_plain or found.st_uid != os.geteuid():
            raise Unfit("not a plain file of ours", wanted.place)
        seen = _Seen(
            wanted.tenant,
            wanted.digest,
            found.st_dev,
            found.st_ino,
            found.st_size,
            found.st_mtime_ns,
            found.st_ctime_ns,
        )
        with self._lock:
            if seen in self._seen:
                return
        if digest_of(descriptor) != wanted.digest:
            raise Unfit("content changed", wanted.place)
        with self._lock:
            self._seen[seen] = None
            if len(self._seen) > _MOST_REMEMBERED:
                del self._seen[next(iter(self._seen))]

    def _remove_stale(self, folder: int) -> None:
        """Remove what a process that was killed had begun to write."""
        stale = self._clock.now().timestamp() - _STALE_AFTER_S
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith(_INCOMING):
                    continue
                with suppress(FileNotFoundError):
                    if entry.stat(follow_symlinks=False).st_mtime < stale:
                        _remove(entry.name, folder)


def digest_of(descriptor: int) -> bytes:
    """SHA-256 of an open file, from its beginning; blocks."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    with open(descriptor, "rb", closefd=False) as file:
        return hashlib.file_digest(file, "sha256").digest()


@contextmanager
def _storing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"The file cannot be stored: {error.strerror}.") from error


def _file_name(digest: bytes) -> str:
    return f"{digest.hex()}.parquet"


def _remove(name: str, folder: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
