"""A MariaDB server of the tests' own: Debian's binaries, a private data directory, a free port.

It stands for a tenant's server. Everything about it is made and undone here; nothing of the
machine's own MariaDB is touched. Installed by `tests/install_debian.sh`; whatever needs it is
skipped, visibly, where it is missing.
"""

import asyncio
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.scratch import remove, scratch
from tests.sources.certificates import Authority

_SERVER = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")
_INSTALL = shutil.which("mariadb-install-db")
_CLIENT = shutil.which("mariadb")
_FAST = (
    "--innodb-buffer-pool-size=24M", "--innodb-log-file-size=8M", "--innodb-flush-method=nosync",
    "--innodb-flush-log-at-trx-commit=0", "--performance-schema=OFF", "--skip-log-bin",
    "--max-connections=400", "--skip-name-resolve", "--innodb-file-per-table=OFF",
)  # fmt: skip
HOST = "db.acme.test"
"""The name in the server's certificate."""

needs_mariadb = pytest.mark.skipif(
    _SERVER is None or _INSTALL is None or _CLIENT is None,
    reason="MariaDB is not installed: run tests/install_debian.sh",
)


@dataclass(frozen=True, slots=True)
class MariaDB:
    """A running server.

    Attributes:
        port: on 127.0.0.1.
        ca: PEM text of the authority that signed its certificate, which is for `HOST`.
        folder: its files.
    """

    port: int
    ca: str
    folder: Path
    password: str

    def sql(self, statement: str, database: str = "mysql") -> list[list[str]]:
        """Run statements as the administrator, with the server's own client; the rows as texts."""
        assert _CLIENT is not None
        done = subprocess.run(
            [
                _CLIENT, "--no-defaults", "--protocol=tcp", "--host=127.0.0.1",
                f"--port={self.port}", "--user=admin", "--skip-ssl", "--batch",
                "--skip-column-names", "--default-character-set=utf8mb4", database,
            ],
            input=statement.encode(),
            env={"MYSQL_PWD": self.password, "PATH": os.environ["PATH"]},
            capture_output=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        return [line.split("\t") for line in done.stdout.decode().splitlines()]

    def create_database(self, name: str | None = None) -> str:
        """A fresh database; its name."""
        name = name or f"d_{secrets.token_hex(6)}"
        self.sql(f"CREATE DATABASE `{name}`")
        return name

    def create_login(self, database: str, rights: str = "SELECT", on: str = "") -> tuple[str, str]:
        """A login with `rights` on `database` (or on what `on` says); its name and password."""
        user, password = f"u_{secrets.token_hex(6)}", secrets.token_hex(12)
        self.sql(
            f"CREATE USER `{user}`@`%` IDENTIFIED BY '{password}';\n"
            f"GRANT {rights} ON {on or f'`{database}`.*'} TO `{user}`@`%`"
        )
        return user, password

    def create_tables(self, database: str, count: int) -> None:
        """Empty tables `t0` and so on, the quick way: a table in memory is one file, copied."""
        kind = "(id int PRIMARY KEY, name varchar(20) COMMENT 'n') ENGINE=MEMORY"
        self.sql(f"CREATE TABLE t0 {kind}", database)
        first = self.folder / "data" / database / "t0.frm"
        owner = first.stat()
        for at in range(1, count):
            copy = shutil.copy(first, first.with_name(f"t{at}.frm"))
            os.chown(copy, owner.st_uid, owner.st_gid)

    def running(self, like: str) -> list[str]:
        """Statements that the server is running just now and that contain `like`."""
        return [
            row[0]
            for row in self.sql(
                "SELECT info FROM information_schema.processlist "
                f"WHERE info LIKE '%{like}%' AND info NOT LIKE '%processlist%'"
            )
        ]

    async def comes_true(self, like: str, *, running: bool) -> bool:
        """Wait until a statement that contains `like` runs there, or until none does."""
        for _ in range(200):
            if bool(self.running(like)) == running:
                return True
            await asyncio.sleep(0.02)
        return False


@contextmanager
def mariadb_server() -> Iterator[MariaDB]:
    """Start a server and take it down afterwards."""
    folder = scratch("mariadb")
    try:
        authority = Authority.create()
        authority.issue(HOST, folder / "server.crt", folder / "server.key")
        password = secrets.token_hex(16)
        (folder / "init.sql").write_text(
            f"CREATE USER admin@'%' IDENTIFIED BY '{password}';\n"
            "GRANT ALL PRIVILEGES ON *.* TO admin@'%' WITH GRANT OPTION;\n"
        )
        user = _hand_over(folder)
        process, port = _start(folder, user)
        try:
            server = MariaDB(port, authority.certificate, folder, password)
            _wait(server, process)
            yield server
        finally:
            process.kill()
            process.wait()
    finally:
        remove(folder)


def _hand_over(folder: Path) -> list[str]:
    """MariaDB refuses to run as root: give the files to Debian's user for it."""
    if os.geteuid() != 0:
        return []
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, "mysql")
    return ["--user=mysql"]


def _start(folder: Path, user: list[str]) -> tuple["subprocess.Popen[bytes]", int]:
    assert _INSTALL is not None
    assert _SERVER is not None
    data = folder / "data"
    subprocess.run(
        [_INSTALL, "--no-defaults", *user, f"--datadir={data}", "--skip-test-db", *_FAST],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                _SERVER, "--no-defaults", *user, f"--datadir={data}", f"--port={port}",
                "--bind-address=127.0.0.1", f"--socket={folder / 's'}",
                f"--pid-file={folder / 'pid'}", f"--init-file={folder / 'init.sql'}",
                f"--ssl-cert={folder / 'server.crt'}", f"--ssl-key={folder / 'server.key'}",
                f"--secure-file-priv={folder}", f"--tmpdir={folder}", *_FAST,
            ],
            stdout=log,
            stderr=log,
        )  # fmt: skip
    return process, port


def _wait(server: MariaDB, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        assert process.poll() is None, (server.folder / "log").read_text()
        try:
            server.sql("SELECT 1")
        except AssertionError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError((server.folder / "log").read_text()[:4000])
