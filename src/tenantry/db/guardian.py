"""Stops the embedded PostgreSQL when its last user is gone. Run by `embedded`, as a process.

Standard library only and started with `-I -S`, so that it costs a few megabytes and no time.
Arguments: lock file, path of pg_ctl, cluster directory, directory of the socket.
"""

import contextlib
import fcntl
import os
import subprocess
import sys
from pathlib import Path


def main(lock: str, pg_ctl: str, cluster: str, socket_dir: str) -> int:
    """Wait until nobody holds the lock, then stop the server while holding it."""
    os.chdir("/")
    with Path(lock).open("w") as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        # A crashed server's pid file may name a stranger by now, and pg_ctl would end that one.
        status = _stop(pg_ctl, cluster) if is_postmaster_of(Path(cluster)) else 0
        with contextlib.suppress(OSError):
            Path(socket_dir).rmdir()  # empty once the server is down
        return status


def _stop(pg_ctl: str, cluster: str) -> int:
    owner = Path(cluster).stat()
    as_owner = {} if os.geteuid() != 0 else {"user": owner.st_uid, "group": owner.st_gid}
    stop = [pg_ctl, "-D", cluster, "-m", "fast", "-w", "stop"]
    return subprocess.run(stop, check=False, **as_owner).returncode  # type: ignore[call-overload, no-any-return]  # noqa: S603


def is_postmaster_of(cluster: Path) -> bool:
    """Whether the process named by the pid file is alive and serves this very directory.

    `pg_ctl` asks only whether a process of that number exists. After a crash that may be a zombie,
    where nobody reaps orphans, or any other process, after a container was restarted.
    """
    pid = named_by_pid_file(cluster)
    process = Path("/proc") / str(pid)
    if pid and not Path("/proc/self").exists():
        return _exists(pid)  # no /proc to ask, as on macOS
    try:
        state = (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        return state != "Z" and (process / "cwd").resolve(strict=True) == cluster.resolve()
    except OSError:
        return False


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def named_by_pid_file(cluster: Path) -> int:
    """The process id in the cluster's pid file, or 0."""
    try:
        return int((cluster / "postmaster.pid").read_text(encoding="utf-8").partition("\n")[0])
    except (OSError, ValueError):
        return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5]))
