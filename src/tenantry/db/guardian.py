"""Stops the embedded PostgreSQL when its last user is gone. Run by `embedded`, never imported.

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
        owner = Path(cluster).stat()
        as_owner = {} if os.geteuid() != 0 else {"user": owner.st_uid, "group": owner.st_gid}
        stop = [pg_ctl, "-D", cluster, "-m", "fast", "-w", "stop"]
        stopped = subprocess.run(stop, check=False, **as_owner)  # type: ignore[call-overload]  # noqa: S603
        with contextlib.suppress(OSError):
            Path(socket_dir).rmdir()  # empty once the server is down
        return int(stopped.returncode)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5]))
