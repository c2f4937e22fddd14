"""The embedded PostgreSQL: shared by processes, ended with the last, up again after any crash."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import tenantry
from tenantry.core.errors import StartupRefused
from tenantry.db.embedded import Account, EmbeddedPostgres
from tenantry.db.secrets import Secrets
from tests.scratch import scratch

_HOLD = """
import sys
from pathlib import Path
from tenantry.db.embedded import EmbeddedPostgres
from tenantry.db.secrets import Secrets
home = Path(sys.argv[1])
with EmbeddedPostgres(home / "postgres", Secrets.read_or_create(home / "secrets.json")) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""


@dataclass
class Home:
    """A data directory, and the processes that hold its server."""

    path: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def begin(self, command: tuple[str, ...] = (), python: str = sys.executable) -> None:
        """Start a process that holds the server until its standard input ends."""
        source = str(Path(tenantry.__file__).parents[1])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([source, *sys.path])}
        self.processes.append(
            subprocess.Popen(
                [*command, python, "-c", _HOLD, str(self.path)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd="/",
            )
        )  # fmt: skip

    def url(self, number: int = -1) -> str:
        """Address that a process printed once its server was up."""
        process = self.processes[number]
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        assert line.startswith("postgresql://"), f"no server: {line!r}, exit {process.poll()}"
        return line

    def leave(self, number: int = -1, *, kill: bool = False) -> None:
        """End a process: in order, or by SIGKILL."""
        process = self.processes.pop(number)
        if kill:
            process.kill()
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.wait(20)
        process.stdout.close()

    @property
    def pid_file(self) -> Path:
        return self.path / "postgres" / "pg" / "postmaster.pid"

    @property
    def postmaster(self) -> int:
        """Process id of the server."""
        return int(self.pid_file.read_text(encoding="utf-8").splitlines()[0])

    def ask(self, url: str, query: str) -> object:
        """First value of a query's answer, or None."""
        password = Secrets.read(self.path / "secrets.json").admin_password
        whole = make_conninfo(url, dbname="postgres", password=password)
        with psycopg.connect(whole, autocommit=True) as connection:
            cursor = connection.execute(query.encode())
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None


def wait_until(holds: Callable[[], bool], what: str, seconds: float = 20) -> None:
    """Return as soon as it holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"still not: {what}"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def home() -> Iterator[Home]:
    """A data directory that PostgreSQL's user can reach; everything is stopped afterwards."""
    path = scratch("embedded")
    home = Home(path)
    yield home
    while home.processes:
        home.leave(kill=True)
    with contextlib.suppress(OSError, ValueError):
        postmaster = home.postmaster
        wait_until(lambda: not is_running(postmaster), "stopped")
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.req("USE-5")
def test_processes_that_start_together_share_one_server(home: Home) -> None:
    for _ in range(4):
        home.begin()
    urls = {home.url(n) for n in range(4)}
    assert len(urls) == 1
    url = urls.pop()
    home.ask(url, "CREATE TABLE seen AS SELECT 42 AS answer")
    assert home.ask(url, "SELECT answer FROM seen") == 42
    assert [p.poll() for p in home.processes] == [None] * 4


@pytest.mark.req("USE-5")
def test_server_outlives_a_killed_user_and_ends_with_the_last(home: Home) -> None:
    home.begin()
    url = home.url()
    home.begin()
    assert home.url() == url
    postmaster = home.postmaster
    home.leave(0, kill=True)  # the one that had started the server
    time.sleep(0.5)
    assert home.ask(url, "SELECT 1") == 1
    home.begin()
    assert home.url() == url
    assert home.postmaster == postmaster
    home.leave(0)
    assert home.ask(url, "SELECT 1") == 1
    home.leave(0, kill=True)
    wait_until(lambda: not is_running(postmaster), "the server is stopped")
    wait_until(lambda: not home.pid_file.exists(), "in order")


@pytest.mark.req("USE-5")
def test_data_is_there_again_after_stop_and_start(home: Home) -> None:
    home.begin()
    home.ask(home.url(), "CREATE TABLE kept AS SELECT 7 AS x")
    home.leave()
    home.begin()  # at once: it waits for the server that is being stopped
    assert home.ask(home.url(), "SELECT x FROM kept") == 7


@pytest.mark.req("USE-5")
def test_server_starts_over_after_its_own_kill(home: Home) -> None:
    """kill -9 of PostgreSQL leaves its pid file and, for a moment, its children."""
    home.begin()
    home.ask(home.url(), "CREATE TABLE kept AS SELECT 7 AS x")
    dead = home.postmaster
    os.kill(dead, signal.SIGKILL)
    wait_until(lambda: not is_running(dead), "killed")
    assert home.pid_file.exists()
    home.begin()
    assert home.ask(home.url(), "SELECT x FROM kept") == 7
    assert home.postmaster != dead


@pytest.mark.req("USE-5")
def test_pid_file_that_names_somebody_elses_process_is_no_server(home: Home) -> None:
    """After a crash of a container, the old number may belong to any process of the same user."""
    home.begin()
    home.ask(home.url(), "CREATE TABLE kept AS SELECT 7 AS x")
    dead = home.postmaster
    owner = home.pid_file.stat()
    os.kill(dead, signal.SIGKILL)
    home.leave()
    wait_until(lambda: not is_running(dead), "killed")
    user, group = (owner.st_uid, owner.st_gid) if os.geteuid() == 0 else (None, None)
    with subprocess.Popen(["sleep", "60"], user=user, group=group) as stranger:
        lines = home.pid_file.read_text(encoding="utf-8").splitlines()
        home.pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]), encoding="utf-8")
        try:
            home.begin()
            assert home.ask(home.url(), "SELECT x FROM kept") == 7
            assert home.postmaster != stranger.pid
            assert stranger.poll() is None  # and it was left alone
        finally:
            stranger.kill()


@pytest.mark.req("USE-5")
def test_first_start_that_was_interrupted_is_made_up_for(home: Home) -> None:
    (home.path / "postgres" / "pg.draft").mkdir(parents=True)
    (home.path / "postgres" / "pg.draft" / "half").write_text("x", encoding="utf-8")
    (home.path / "postgres" / "pg").mkdir()
    home.begin()
    assert home.ask(home.url(), "SELECT 1") == 1


@pytest.mark.req("USE-5")
def test_nothing_listens_on_the_network_and_the_socket_is_private(home: Home) -> None:
    home.begin()
    url = home.url()
    assert home.ask(url, "SHOW listen_addresses") == ""
    folder = Path(url.partition("host=")[2])
    assert folder.stat().st_mode & 0o777 == 0o700
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(make_conninfo(url, dbname="postgres", password="wrong"))


@pytest.mark.req("USE-5")
def test_socket_folder_of_somebody_else_is_refused(home: Home) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a folder that belongs to somebody else")
    secrets = Secrets.read_or_create(home.path / "secrets.json")
    server = EmbeddedPostgres(home.path / "postgres", secrets)
    folder = Path(server.url.partition("host=")[2])
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    try:
        with pytest.raises(StartupRefused, match="belongs to somebody else"), server:
            pytest.fail("a socket in a stranger's folder was used")
    finally:
        folder.rmdir()


@pytest.mark.req("USE-5")
def test_directory_that_the_servers_user_cannot_enter_is_refused(home: Home) -> None:
    if os.geteuid() != 0:
        pytest.skip("another user runs the server only for root")
    private = home.path / "private"
    private.mkdir(mode=0o700)
    secrets = Secrets.read_or_create(home.path / "secrets.json")
    with (
        pytest.raises(StartupRefused, match="TENANTRY_DATA_DIR"),
        EmbeddedPostgres(private / "postgres", secrets),
    ):
        pytest.fail("it cannot have started")


@pytest.mark.req("USE-5")
def test_root_runs_the_server_as_another_user(home: Home) -> None:
    home.begin()
    home.url()
    uid = Path(f"/proc/{home.postmaster}").stat().st_uid
    assert uid != 0
    assert uid == (Account.choose().uid if os.geteuid() == 0 else os.geteuid())


@pytest.mark.req("USE-5")
def test_ordinary_user_runs_the_server_as_itself(home: Home) -> None:
    if os.geteuid() != 0:
        pytest.skip("all other tests here show it")
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is missing: the ordinary user was not tried")
    nobody = pwd.getpwnam("nobody")
    command = (
        "setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups",
    )  # fmt: skip
    os.chown(home.path, nobody.pw_uid, nobody.pw_gid)
    again = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-V']))"
    for python in (sys.executable, "/usr/bin/python3"):
        probe = [*command, python, "-c", again]
        with contextlib.suppress(OSError):
            if subprocess.run(probe, check=False, capture_output=True, cwd="/").returncode == 0:
                break
    else:
        pytest.skip("the user nobody can run no Python here")
    home.begin(command, python)
    url = home.url()
    assert home.ask(url, "SELECT 1") == 1
    postmaster = home.postmaster
    assert Path(f"/proc/{postmaster}").stat().st_uid == nobody.pw_uid
    home.leave(kill=True)
    wait_until(lambda: not is_running(postmaster), "the server is stopped")
