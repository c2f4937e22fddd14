"""The operator's file of programs: what it may say, and what keeps the server from starting."""

import json
from pathlib import Path
from typing import Any

import pytest

from tenantry.connectors.mcp_commands import read_commands
from tenantry.core.errors import StartupRefused

pytestmark = pytest.mark.req("CON-1")


def written(folder: Path, given: Any, mode: int = 0o600) -> Path:
    """The file."""
    path = folder / "commands.json"
    path.write_text(given if isinstance(given, str) else json.dumps(given))
    path.chmod(mode)
    return path


def test_without_a_file_there_are_no_commands() -> None:
    assert read_commands(None) == {}


def test_what_a_file_says_is_what_a_command_has(tmp_path: Path) -> None:
    given = {
        "argv": ["/opt/desk/server", "--stdio"], "read": ["/opt/desk"], "memory_mb": 64,
        "environment": {"MODE": "fast"}, "secrets": {"desk_token": "DESK_TOKEN"},
        "cpu_s": 5, "file_mb": 1, "without": ["network"],
    }  # fmt: skip
    path = written(tmp_path, {"commands": {"desk": given, "plain": {"argv": ["/bin/true"]}}})
    commands = read_commands(path)
    desk = commands["desk"]
    assert (desk.argv, desk.read) == (("/opt/desk/server", "--stdio"), ("/opt/desk",))
    assert (desk.limits.memory_bytes, desk.limits.cpu_s) == (64 << 20, 5)
    assert desk.without == {"network"}
    assert commands["plain"].without == frozenset()
    assert "fast" not in repr(desk)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("{", "cannot be read as JSON"),
        ([], "holds"),
        ({"commands": {}, "more": 1}, "holds"),
        ({"commands": {"De sk": {"argv": ["/a"]}}}, "a name has"),
        ({"commands": {"desk": []}}, "is an object of"),
        ({"commands": {"desk": {"argv": ["/a"], "shell": True}}}, "is an object of"),
        ({"commands": {"desk": {"argv": []}}}, "an absolute path"),
        ({"commands": {"desk": {"argv": ["python"]}}}, "an absolute path"),
        ({"commands": {"desk": {"argv": ["/a"], "read": ["opt"]}}}, "absolute paths"),
        ({"commands": {"desk": {"argv": "/a"}}}, "argv is a list"),
        ({"commands": {"desk": {"argv": ["/a"], "secrets": {"Token": "T"}}}}, "lower-case"),
        ({"commands": {"desk": {"argv": ["/a"], "secrets": ["token"]}}}, "object of texts"),
        ({"commands": {"desk": {"argv": ["/a"], "secrets": {"t": "LD_PRELOAD"}}}}, "no variable"),
        ({"commands": {"desk": {"argv": ["/a"], "environment": {"HOME": "/"}}}}, "no variable"),
        ({"commands": {"desk": {"argv": ["/a"], "memory_mb": 0}}}, "whole number"),
        ({"commands": {"desk": {"argv": ["/a"], "cpu_s": True}}}, "whole number"),
        ({"commands": {"desk": {"argv": ["/a"], "without": ["doors"]}}}, "without names"),
    ],
)
def test_a_file_that_says_anything_else_keeps_the_server_from_starting(
    tmp_path: Path, given: Any, says: str
) -> None:
    with pytest.raises(StartupRefused, match=says):
        read_commands(written(tmp_path, given))


def test_a_file_that_others_may_write_keeps_the_server_from_starting(tmp_path: Path) -> None:
    path = written(tmp_path, {"commands": {}}, 0o666)
    with pytest.raises(StartupRefused, match="may write"):
        read_commands(path)
    with pytest.raises(StartupRefused, match="cannot be read"):
        read_commands(tmp_path / "none.json")
