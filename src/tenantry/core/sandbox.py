"""Confines a process, so that not even a hole in what it runs reaches a neighbour.

For the processes of DuckDB, of parsed documents and of operators' programs; runs inside them and
uses the standard library only. Two walls: resource limits, everywhere; and Landlock on Linux 5.13
and later, by which the kernel refuses to open any file but those named, to execute anything, to
connect or bind TCP (6.7) and to signal other processes (6.12).
Where the kernel has no Landlock, DuckDB's own lockdown and the guard stand alone, and programs of
an operator's are not started unless the operator does without it.

Source: landlock(7), prctl(2), setrlimit(2).
"""

import ctypes
import os
import resource
import struct
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_VERSION_QUERY = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_MAKE_DEVICES = 1 << 6 | 1 << 11
_RIGHTS_OVER_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
# Rights over files that each version of Landlock knows, all of them denied unless granted.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
_ALL_FILE_RIGHTS = 16
_NETWORK_SINCE, _BIND_AND_CONNECT_TCP = 4, 3
_SCOPES_SINCE, _ABSTRACT_SOCKETS_AND_SIGNALS = 6, 3
# What programs need of the system: their loader, libraries and interpreters, names of authorities.
SYSTEM = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/ssl", "/etc/pki",
    "/etc/alternatives", "/etc/localtime",
)  # fmt: skip
_LIBRARIES = (
    "/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib",
    "/etc/ld.so.cache",
)  # fmt: skip
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
# DuckDB reads the machine's limits from here while it starts, and fails where it may not.
_MACHINE = ("/sys/fs/cgroup", "/sys/devices/system/cpu", "/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a process may use.

    Attributes:
        memory_bytes: for DuckDB's own accounting; the process gets `_OVERHEAD_BYTES` more.
        threads: DuckDB's worker threads.
        cpu_s: processor seconds, over all threads; the kernel then kills it.
        file_bytes: largest file it may write; 0 for none.
    """

    memory_bytes: int
    threads: int
    cpu_s: int
    file_bytes: int = 0

    def arguments(self) -> list[str]:
        """These limits as command line arguments."""
        return [str(value) for value in astuple(self)]


_OVERHEAD_BYTES = 512 * 1024 * 1024  # interpreter, thread stacks, and what DuckDB does not count
_OPEN_FILES = 512


def limit_resources(limits: Limits, overhead_bytes: int = _OVERHEAD_BYTES) -> None:
    """Bound what this process may use, from now on and for good."""
    lower_limits(
        {
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_CPU: limits.cpu_s,
            resource.RLIMIT_DATA: limits.memory_bytes + overhead_bytes,
            resource.RLIMIT_FSIZE: limits.file_bytes,
            resource.RLIMIT_NOFILE: _OPEN_FILES,
        }
    )


def lower_limits(most: Mapping[int, int]) -> None:
    """Bound what this process may use of each kind of resource, or keep what is bounded lower."""
    for kind, value in most.items():
        _, hardest = resource.getrlimit(kind)
        value = value if hardest == resource.RLIM_INFINITY else min(value, hardest)
        resource.setrlimit(kind, (value, value))


def landlock_version() -> int:
    """Version of Landlock that the kernel offers; 0 for none."""
    if os.uname().sysname != "Linux":
        return 0
    version = _libc().syscall(_CREATE_RULESET, None, 0, _VERSION_QUERY)
    return max(0, int(version))


def confine(readable: Iterable[int], writable: Iterable[int] = ()) -> bool:
    """Let this process open the files of these descriptors again, and nothing else, ever.

    It binds the calling thread and those it starts, so it must be called while there is one.

    Returns:
        False where the kernel has no Landlock.

    Raises:
        OSError: the kernel has it and would not, or other threads run already.
    """
    version = landlock_version()
    if version == 0:
        return False
    _refuse_threads()
    ruleset = _ruleset(version)
    for descriptor in readable:
        _allow(ruleset, descriptor, _READ_FILE)
    truncate = _TRUNCATE if version >= 3 else 0
    for descriptor in writable:
        _allow(ruleset, descriptor, _READ_FILE | _WRITE_FILE | truncate)
    for path in _MACHINE:
        _allow_path(ruleset, path, _READ_FILE)
    _restrict(ruleset)
    return True


def confine_reading(readable: Iterable[str]) -> bool:
    """Let this process read these files and folders, and libraries, and nothing else, ever.

    Returns:
        False where the kernel has no Landlock.

    Raises:
        OSError: the kernel has it and would not, or other threads run already.
    """
    version = landlock_version()
    if version == 0:
        return False
    _refuse_threads()
    ruleset = _ruleset(version)
    for path in (*_LIBRARIES, *readable):
        _allow_path(ruleset, path, _READ_FILE | _READ_DIR)
    _restrict(ruleset)
    return True


def confine_tree(readable: Iterable[str], writable: Iterable[str], *, network: bool) -> bool:
    """Let this process, and what it becomes, reach these folders and files, and nothing else, ever.

    Args:
        readable: may be read and executed, with all below them, as what the system brings.
        writable: folders in which it may do as it likes, but for executing what it wrote.
        network: whether it may connect over TCP.

    Returns:
        False where the kernel has no Landlock.

    Raises:
        OSError: the kernel has it and would not, or a path is not there.
    """
    version = landlock_version()
    if version == 0:
        return False
    every = (1 << _FILE_RIGHTS.get(version, _ALL_FILE_RIGHTS)) - 1
    ruleset = _ruleset(version, network=network)
    for path in SYSTEM:
        _allow_path(ruleset, path, _EXECUTE | _READ_FILE | _READ_DIR)
    for path in DEVICES:
        _allow_path(ruleset, path, _READ_FILE | _WRITE_FILE)
    for path in readable:
        rights = _EXECUTE | _READ_FILE | _READ_DIR
        _allow_path(ruleset, path, rights, is_needed=True)
    for path in writable:
        _allow_path(ruleset, path, every & ~_EXECUTE & ~_MAKE_DEVICES, is_needed=True)
    _restrict(ruleset)
    return True


def _refuse_threads() -> None:
    # Landlock binds the calling thread and those it starts: others would stay free.
    if len(list(Path("/proc/self/task").iterdir())) != 1:
        raise OSError("other threads run already")


def _restrict(ruleset: int) -> None:
    _checked(_libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _checked(_libc().syscall(_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def _ruleset(version: int, *, network: bool = False) -> int:
    rights = (1 << _FILE_RIGHTS.get(version, _ALL_FILE_RIGHTS)) - 1
    network_rights = 0 if network or version < _NETWORK_SINCE else _BIND_AND_CONNECT_TCP
    scopes = _ABSTRACT_SOCKETS_AND_SIGNALS if version >= _SCOPES_SINCE else 0
    # struct landlock_ruleset_attr grew with the versions; the kernel takes longer ones if the
    # rest is zero, which it is for every version that does not know it.
    attributes = struct.pack("=QQQ", rights, network_rights, scopes)
    return _checked(_libc().syscall(_CREATE_RULESET, attributes, len(attributes), 0))


def _allow_path(ruleset: int, path: str, rights: int, *, is_needed: bool = False) -> None:
    if not is_needed and not Path(path).exists():
        return
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    if not Path(path).is_dir():
        rights &= _RIGHTS_OVER_FILES
    _allow(ruleset, descriptor, rights)
    os.close(descriptor)


def _allow(ruleset: int, descriptor: int, rights: int) -> None:
    rule = struct.pack("=Qi", rights, descriptor)  # struct landlock_path_beneath_attr, packed
    _checked(_libc().syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result)
