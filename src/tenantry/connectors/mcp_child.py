"""The launcher of an MCP server that is a program of the operator's: walls first, then the program.

Started by `mcp_stdio` in a process group of its own, with no environment but what the program gets.
It bounds what the process may use, puts it where there is no network and no other process, lets it
see the folders named, says `ready` on a line, and becomes the program. A wall that cannot be built
is said instead, and nothing is started, unless the operator does without it.

Runs before anything is confined, and uses the standard library only.
Source: unshare(2), user_namespaces(7), pid_namespaces(7), landlock(7), prctl(2).
"""

import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tenantry.connectors import mcp_view
from tenantry.core import sandbox

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUTS, _CLONE_NEWIPC = 0x04000000, 0x08000000
_CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
_PR_SET_PDEATHSIG = 1
_NOBODY = 65_534
_MOST_PROCESSES = 256  # threads count as well


class Unbuilt(Exception):
    """A wall cannot be built here; its name."""


def main(arguments: list[str]) -> None:
    """Become the program, or say why not."""
    plan: Mapping[str, Any] = json.loads(arguments[0])
    without = frozenset(plan["without"])
    try:
        _die_with_parent()
        sandbox.limit_resources(sandbox.Limits(**plan["limits"]), overhead_bytes=0)
        if not os.access(plan["argv"][0], os.X_OK):
            raise Unbuilt("program")
        if not all(Path(path).exists() for path in plan["read"]):
            raise Unbuilt("read")
        _separate(plan, without)
        _confine(plan, without)
    except (Unbuilt, OSError) as error:
        _say(str(error) if isinstance(error, Unbuilt) else "system")
        return
    _say("ready")
    # Python adds variables of its own: what is given was named.
    environment = {name: os.environ[name] for name in plan["variables"]}
    os.execve(plan["argv"][0], plan["argv"], environment)  # noqa: S606 - the operator's own


def _say(text: str) -> None:
    sys.stdout.buffer.write(text.encode() + b"\n")
    sys.stdout.buffer.flush()


def _die_with_parent() -> None:
    parent = os.getppid()
    _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _separate(plan: Mapping[str, Any], without: frozenset[str]) -> None:
    """Go where there is no network, no other process, and nothing but the folders named.

    Raises:
        Unbuilt: the kernel, or who runs it, does not let us.
    """
    spaces = 0 if "network" in without else _CLONE_NEWNET
    is_alone = "processes" not in without
    if is_alone:
        spaces |= _CLONE_NEWPID | _CLONE_NEWIPC | _CLONE_NEWUTS
    if spaces == 0:
        return
    _unshare(spaces, "processes" if "network" in without else "network")
    if "files" not in without:
        visible = [*sandbox.SYSTEM, *sandbox.DEVICES, *plan["read"], plan["argv"][0]]
        mcp_view.enter(plan["root"], plan["folder"], visible)
    if is_alone:
        _be_first()


def _unshare(spaces: int, wall: str) -> None:
    user, group = os.getuid(), os.getgid()
    if _libc().unshare(spaces | _CLONE_NEWUSER | _CLONE_NEWNS) != 0:
        raise Unbuilt(wall)
    try:
        # Nobody there, us outside: our own files, none of root's rights.
        Path("/proc/self/setgroups").write_text("deny", "ascii")
        Path("/proc/self/uid_map").write_text(f"{_NOBODY} {user} 1", "ascii")
        Path("/proc/self/gid_map").write_text(f"{_NOBODY} {group} 1", "ascii")
    except OSError as error:
        raise Unbuilt(wall) from error


def _be_first() -> None:
    """Go on as the first process of the new space: when it ends, all of them do.

    Who was there before stays outside, waits, and takes all of them with it when it is killed.
    """
    child = os.fork()
    if child:
        for descriptor in (0, 1):  # the program's alone: its end is then the end of the pipe
            os.close(descriptor)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)
    _die_with_parent()
    resource.setrlimit(resource.RLIMIT_NPROC, (_MOST_PROCESSES, _MOST_PROCESSES))


def _confine(plan: Mapping[str, Any], without: frozenset[str]) -> None:
    if "files" in without:
        return
    try:
        held = sandbox.confine_tree(
            [*plan["read"], plan["argv"][0]], [plan["folder"]], network="network" in without
        )
    except OSError as error:
        raise Unbuilt("files") from error
    if not held:
        raise Unbuilt("files")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


if __name__ == "__main__":
    main(sys.argv[1:])
