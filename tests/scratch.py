"""Folders for servers that a run starts and throws away: in memory where there is room."""

import os
import shutil
import tempfile
import time
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ROOM = 3 * 2**30  # several times what a run takes


def scratch(name: str, *, large: bool = False) -> Path:
    """A new folder that PostgreSQL's user can reach; a large one is on the disk.

    Databases are cut from a template for most tests, each a thousand small files: on a disk the
    file system's own work was two thirds of all that PostgreSQL did.
    """
    where = _MEMORY if not large and _has_room(_MEMORY) else None
    folder = Path(tempfile.mkdtemp(prefix=f"tenantry-{name}-", dir=where))
    folder.chmod(0o755)
    return folder


def remove(folder: Path) -> None:
    """Remove a data directory once the server in it has stopped."""
    for _ in range(400):
        if not (folder / "postgres" / "pg" / "postmaster.pid").exists():
            break
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


def _has_room(folder: Path) -> bool:
    """Whether much may be written there, and programs may be run from there."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    free = found.f_bavail * found.f_frsize
    return os.access(folder, os.W_OK) and not found.f_flag & os.ST_NOEXEC and free >= _ROOM
