"""The confined process reaches nothing but the files it was given, whatever runs inside it."""

import json
import os
import resource
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tenantry.core import sandbox

pytestmark = [
    pytest.mark.req("CON-3"),
    pytest.mark.skipif(sandbox.landlock_version() == 0, reason="this kernel has no Landlock"),
]

# Runs what an attacker would who had taken the process over, and says what came of each attempt.
_TAKEN_OVER = """
import encodings.idna, json, os, signal, socket, sys, threading
from tenantry.core import sandbox
own, target = int(sys.argv[1]), int(sys.argv[2])
foreign, port = sys.argv[3], int(sys.argv[4])
confined = sandbox.confine([own], [target])

def attempt(act):
    try:
        return str(act())
    except OSError as error:
        return type(error).__name__

def from_a_thread(act):
    results = []
    thread = threading.Thread(target=lambda: results.append(attempt(act)))
    thread.start()
    thread.join()
    return results[0]

print(json.dumps({
    "confined": confined,
    "own file": attempt(lambda: open(f"/dev/fd/{own}").read()),
    "target": attempt(lambda: open(f"/dev/fd/{target}", "w").write("done")),
    "write own file": attempt(lambda: open(f"/dev/fd/{own}", "r+").write("x")),
    "foreign file": attempt(lambda: open(foreign).read()),
    "foreign file from a thread": from_a_thread(lambda: open(foreign).read()),
    "list": attempt(lambda: os.listdir(os.path.dirname(foreign))),
    "environment": attempt(lambda: open("/proc/self/environ").read()),
    "parent": attempt(lambda: open(f"/proc/{os.getppid()}/environ").read()),
    "create": attempt(lambda: open(foreign + ".new", "w")),
    "remove": attempt(lambda: os.unlink(foreign)),
    "link": attempt(lambda: os.link(foreign, foreign + ".link")),
    "execute": attempt(lambda: os.execv("/bin/true", ["true"])),
    "connect": attempt(lambda: socket.create_connection(("127.0.0.1", port), 2)),
    "signal": attempt(lambda: os.kill(os.getppid(), 0)),
}))
"""


@pytest.fixture
def listener() -> socket.socket:
    """A server on loopback that must not be reached."""
    return socket.create_server(("127.0.0.1", 0))


def test_a_process_that_was_taken_over_reaches_nothing_else(
    tmp_path: Path, listener: socket.socket
) -> None:
    own, target, foreign = tmp_path / "own", tmp_path / "target", tmp_path / "foreign"
    own.write_text("acme's own")
    target.touch()
    foreign.write_text("globex canary")
    with own.open() as reading, target.open("r+") as writing:
        descriptors = (reading.fileno(), writing.fileno())
        arguments = [*map(str, descriptors), str(foreign), str(listener.getsockname()[1])]
        ran = subprocess.run(
            [sys.executable, "-I", "-c", _TAKEN_OVER, *arguments],
            pass_fds=descriptors, capture_output=True, check=True, env={},
        )  # fmt: skip
    listener.close()
    assert json.loads(ran.stdout) == {
        "confined": True,
        "own file": "acme's own",
        "target": "4",
        "write own file": "PermissionError",
        "foreign file": "PermissionError",
        "foreign file from a thread": "PermissionError",
        "list": "PermissionError",
        "environment": "PermissionError",
        "parent": "PermissionError",
        "create": "PermissionError",
        "remove": "PermissionError",
        "link": "PermissionError",
        "execute": "PermissionError",
        "connect": "PermissionError",
        "signal": "PermissionError",
    }
    assert foreign.read_text() == "globex canary"
    assert target.read_text() == "done"


def test_without_the_confinement_all_of_it_would_succeed(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.write_text("globex canary")
    script = _TAKEN_OVER.replace("sandbox.confine([own], [target])", "False")
    script = script.replace('"execute": attempt(lambda: os.execv("/bin/true", ["true"])),', "")
    with foreign.open() as own, (tmp_path / "t").open("w+") as target:
        descriptors = (own.fileno(), target.fileno())
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = str(server.getsockname()[1])
            ran = subprocess.run(
                [sys.executable, "-I", "-c", script, *map(str, descriptors), str(foreign), port],
                pass_fds=descriptors, capture_output=True, check=True,
            )  # fmt: skip
    assert "PermissionError" not in json.loads(ran.stdout).values()


def test_duckdb_reaches_nothing_else_even_without_its_own_lockdown(tmp_path: Path) -> None:
    (tmp_path / "foreign.txt").write_text("globex canary")
    (tmp_path / "own.txt").write_text("acme's own")
    script = (
        "import duckdb, sys\n"
        "from tenantry.core import sandbox\n"
        "sandbox.confine([int(sys.argv[1])])\n"
        "connection = duckdb.connect()\n"
        "def read(path):\n"
        "    query = f\"SELECT content FROM read_text('{path}')\"\n"
        "    return connection.execute(query).fetchone()[0]\n"
        "print(read(f'/dev/fd/{sys.argv[1]}'))\n"
        "for path in (sys.argv[2], '/etc/passwd', '/proc/self/environ'):\n"
        "    try:\n"
        "        print(read(path))\n"
        "    except duckdb.IOException as error:\n"
        "        print('Permission denied' in str(error))\n"
    )
    with (tmp_path / "own.txt").open() as own:
        descriptor, foreign = own.fileno(), str(tmp_path / "foreign.txt")
        ran = subprocess.run(
            [sys.executable, "-I", "-c", script, str(descriptor), foreign],
            pass_fds=[descriptor], capture_output=True, check=True, text=True,
        )  # fmt: skip
    assert ran.stdout.splitlines() == ["acme's own", "True", "True", "True"]


def test_a_process_with_other_threads_refuses_to_be_confined() -> None:
    # Such threads would stay free: Landlock binds the calling thread and those it starts.
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        with pytest.raises(OSError, match="other threads"):
            sandbox.confine([])
    finally:
        stop.set()
        thread.join()


def test_limits_are_set_for_good() -> None:
    limits = sandbox.Limits(memory_bytes=1_000_000, threads=2, cpu_s=7, file_bytes=5)
    script = (
        "import resource, sys\n"
        "from tenantry.core import sandbox\n"
        "sandbox.limit_resources(sandbox.Limits(*map(int, sys.argv[1:])))\n"
        "names = ('CORE', 'CPU', 'FSIZE', 'NOFILE')\n"
        "print([resource.getrlimit(getattr(resource, 'RLIMIT_' + n)) for n in names])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-I", "-c", script, *limits.arguments()],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert ran.stdout.strip() == "[(0, 0), (7, 7), (5, 5), (512, 512)]"


def test_limits_never_rise_above_what_the_process_was_given() -> None:
    script = (
        "import resource\n"
        "from tenantry.core import sandbox\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (3, 3))\n"
        "sandbox.limit_resources(sandbox.Limits(1, 1, 60))\n"
        "print(resource.getrlimit(resource.RLIMIT_CPU))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, check=True, text=True
    )
    assert ran.stdout.strip() == "(3, 3)"
    assert resource.getrlimit(resource.RLIMIT_CPU) != (3, 3)


def test_the_kernels_version_of_landlock_is_known() -> None:
    assert sandbox.landlock_version() >= 1
    assert os.uname().sysname == "Linux"
