"""MCP servers that are programs of the operator's: what their sandbox holds, and what it ends."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tenantry.connectors.base import QueryLimits
from tenantry.connectors.catalog import ConnectorCatalog
from tenantry.connectors.mcp_commands import Command
from tenantry.core.errors import InvalidRequest, QueryFailed, QueryTimeout
from tenantry.core.sandbox import Limits
from tests.integration.connectors.mcp.conftest import Desk

LIMITS = QueryLimits(max_bytes=40_000, timeout_s=15.0)
PYTHON = os.path.realpath(sys.executable)
READ = (str(Path(__file__).parents[3] / "sources" / "mcp_prober.py"), sys.base_prefix)
LOOK: dict[str, Any] = {"operations": {"read": ["look", "stay"]}}
MEGABYTE = 1024 * 1024
TRIED = (
    "foreign file", "write foreign", "list", "parent", "local socket", "connect", "resolve",
)  # fmt: skip
LIMITS_OF = Limits(256 * MEGABYTE, 0, 20, MEGABYTE)


@pytest.fixture(scope="module", autouse=True)
def walls(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips where the machine cannot build them."""
    folders = [str(tmp_path_factory.mktemp(name)) for name in ("own", "root")]
    plan = {
        "argv": ["/bin/true"], "read": [], "folder": folders[0], "root": folders[1],
        "without": [], "variables": [],
        "limits": {"memory_bytes": MEGABYTE * 64, "threads": 0, "cpu_s": 5, "file_bytes": 0},
    }  # fmt: skip
    launcher = [sys.executable, "-I", "-m", "tenantry.connectors.mcp_child", json.dumps(plan)]
    said = subprocess.run(launcher, capture_output=True, check=False, env={}).stdout
    if said != b"ready\n":
        pytest.skip(f"no sandbox on this machine: {said!r}")


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[Path]:
    """A file that is nobody else's business, and a socket beside it."""
    path = tmp_path / "secrets.json"
    path.write_text("the platform's keys")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path.with_name("s")))
        listener.listen()
        yield path


def prober(foreign: Path, port: int, *how: str, **changed: Any) -> Command:
    """The operator's command `prober`."""
    argv = (PYTHON, "-I", READ[0], str(foreign), str(port), *how)
    return replace(Command(argv, READ, limits=LIMITS_OF), **changed)


@asynccontextmanager
async def allowing(desk: Desk, command: Command) -> AsyncIterator[Desk]:
    """The desk of an operator that allows this command."""
    services = replace(desk.services, commands={"prober": command})
    catalog = ConnectorCatalog(services)
    yield Desk(desk.world, services, catalog)
    await catalog.close()


def living(folder: str) -> list[str]:
    """Processes that a prober left behind in this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and folder.encode() in (entry / "cmdline").read_bytes():
                found.append(entry.name)
    return found


@pytest.mark.req("CON-1", "CON-4", "POOL-4")
async def test_a_program_sees_what_its_operator_names_and_nothing_else(
    desk: Desk, foreign: Path, unused_tcp_port: int
) -> None:
    command = prober(
        foreign, unused_tcp_port, environment={"MODE": "fast"}, secrets={"desk_token": "DESK_TOKEN"}
    )
    async with allowing(desk, command) as open_desk:
        source = await open_desk.source({"desk_token": "tok-3f9a-acme"}, command="prober", **LOOK)
        answer: Any = await source.call("look", {}, LIMITS)
    seen = json.loads(answer["content"][0])
    seen["environment"].pop("LC_CTYPE", None)  # which Python, the program, gives itself
    assert seen["environment"] == {
        "MODE": "fast", "DESK_TOKEN": "[removed]", "HOME": seen["folder"], "TMPDIR": seen["folder"],
    }  # fmt: skip
    assert "tenantry-mcp-" in seen["folder"]
    assert not Path(seen["folder"]).exists()
    assert seen["descriptors"] == []
    assert {name: seen[name] for name in TRIED} == {
        **dict.fromkeys(TRIED, "FileNotFoundError"), "connect": "PermissionError",
        "resolve": "OSError",
    }  # fmt: skip
    assert (seen["pid"], seen["own file"], seen["too large"]) == (1, "4", "OSError")
    assert (seen["memory"], seen["file"], seen["cpu"]) == (256 * MEGABYTE, MEGABYTE, 20)


@pytest.mark.req("CON-4")
async def test_each_wall_holds_without_the_others(
    desk: Desk, foreign: Path, unused_tcp_port: int
) -> None:
    async def seen(*without: str) -> Any:
        command = prober(foreign, unused_tcp_port, without=frozenset(without))
        async with allowing(desk, command) as open_desk:
            source = open_desk.catalog.operation_source(desk.world.acme, added.config)
            answer: Any = await source.call("look", {}, LIMITS)
            return json.loads(answer["content"][0])

    async with allowing(desk, prober(foreign, unused_tcp_port)) as open_desk:
        added = await open_desk.add(desk.world.acme, command="prober", **LOOK)
    landlock = await seen("network", "processes")
    assert {
        name: landlock[name] for name in ("foreign file", "write foreign", "list", "parent")
    } == (dict.fromkeys(("foreign file", "write foreign", "list", "parent"), "PermissionError"))
    alone = await seen("files", "network")
    assert (alone["pid"], alone["foreign file"]) == (1, "the platform's keys")
    unplugged = await seen("files", "processes")
    assert (unplugged["connect"], unplugged["resolve"]) == ("OSError", "OSError")


@pytest.mark.req("CON-4")
async def test_what_a_program_leaves_behind_ends_with_its_session(
    desk: Desk, foreign: Path, unused_tcp_port: int
) -> None:
    async with allowing(desk, prober(foreign, unused_tcp_port)) as open_desk:
        source = await open_desk.source(command="prober", **LOOK)
        answer: Any = await source.call("stay", {}, LIMITS)
        folder = json.loads(answer["content"][0])
        async with asyncio.timeout(5):
            while living(folder):  # noqa: ASYNC110 - the kernel tells nobody
                await asyncio.sleep(0.01)
    assert not Path(folder).exists()


@pytest.mark.req("CON-4")
async def test_a_program_that_behaves_badly_is_an_error_that_says_how(
    desk: Desk, foreign: Path, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = foreign.with_name("temporary")
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    haste = QueryLimits(max_bytes=40_000, timeout_s=1.5)
    good = prober(foreign, unused_tcp_port)
    async with allowing(desk, good) as open_desk:
        added = (await open_desk.add(desk.world.acme, command="prober", **LOOK)).config
    cases: list[tuple[Command, type[Exception], str]] = [
        (prober(foreign, unused_tcp_port, "garbage"), QueryFailed, "no JSON-RPC"),
        (prober(foreign, unused_tcp_port, "end"), QueryFailed, "ended the session"),
        (prober(foreign, unused_tcp_port, "hang"), QueryTimeout, "did not answer in time"),
        (prober(foreign, unused_tcp_port, "flood"), QueryFailed, "larger than allowed"),
        (replace(good, argv=("/no/such/program",)), QueryFailed, "is not there"),
        (replace(good, read=()), QueryFailed, "ended the session"),
        (
            replace(good, secrets={"desk_token": "DESK_TOKEN"}),
            InvalidRequest,
            "desk_token is missing",
        ),
    ]
    for command, kind, says in cases:
        async with allowing(desk, command) as open_desk:
            source = open_desk.catalog.operation_source(desk.world.acme, added)
            with pytest.raises(kind, match=says):
                await source.call("look", {}, haste)
    assert list(place.iterdir()) == []


@pytest.mark.req("CON-1", "CON-4")
async def test_a_tenant_picks_a_name_and_never_a_command_line(
    desk: Desk, foreign: Path, unused_tcp_port: int
) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"command": "sh"}, "no command 'sh'. Allowed: prober"),
        ({"command": "/bin/sh -c id"}, "name of a command"),
        ({"command": ["/bin/sh"]}, "name of a command"),
        ({"command": "prober", "argv": ["/bin/sh"]}, "no option argv"),
        ({"command": "prober", "auth": {"kind": "bearer"}}, "auth is for"),
    ]
    async with allowing(desk, prober(foreign, unused_tcp_port)) as open_desk:
        for options, says in cases:
            with pytest.raises(InvalidRequest, match=says):
                await open_desk.add(desk.world.acme, **LOOK, **options)
        with pytest.raises(InvalidRequest, match="There is no secret 'ld_preload'"):
            await open_desk.add(desk.world.acme, {"ld_preload": "/x.so"}, command="prober", **LOOK)
    with pytest.raises(InvalidRequest, match="no command 'prober'"):
        await desk.add(desk.world.acme, command="prober", **LOOK)
