"""A root folder in which a program finds the folders that are named, and nothing else (CON-4).

Landlock decides what may be opened; this decides what is there at all: sockets that are reached by
their path are no matter of Landlock's.

Runs in a new mount namespace of the launcher's, before the program, and uses the standard library
only. A changed root holds a program that has no rights over namespaces: it can make none from
inside it, and has no descriptor that leads outside.

Source: mount(2), chroot(2), user_namespaces(7).
"""

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18


def enter(root: str, folder: str, visible: Iterable[str]) -> None:
    """Make `root` the root, with what is visible in it, and go to the folder.

    Args:
        root: an empty folder.
        folder: the program's own.
        visible: files and folders, by absolute paths; those that do not exist are passed over.

    Raises:
        OSError: the kernel would not.
    """
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)  # nothing of this is seen outside
    _mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=755")
    for path in sorted({folder, *visible}, key=len):  # a folder before what is inside it
        if Path(path).exists():
            _show(path, Path(root + path))
    os.chroot(root)
    os.chdir(folder)


def _show(path: str, target: Path) -> None:
    if os.path.lexists(target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if Path(path).is_symlink() and Path(path).parent == Path("/"):
        target.symlink_to(Path(path).readlink())  # /bin, which is /usr/bin
        return
    if Path(path).is_dir():
        target.mkdir()
    else:
        target.touch()
    _mount(path, str(target), None, _MS_BIND | _MS_REC)


def _mount(
    source: str | None, target: str, kind: str | None, flags: int, data: str | None = None
) -> None:
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3]) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), target)
