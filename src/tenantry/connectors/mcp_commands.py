"""Programs that an operator lets tenants use as MCP servers, each in its sandbox (CON-1, CON-4).

Threat: a tenant that may name a command line runs what it likes on the operator's machine.
Invariant: without the operator's file there are none; a tenant picks a name out of it, and may give
the secrets that it names, nothing else.
"""

import json
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from tenantry.core.errors import StartupRefused
from tenantry.core.sandbox import Limits

WALLS = frozenset({"files", "network", "processes"})
"""What is built around a program; an operator may do without one, in so many words."""

_SETTING = "TENANTRY_MCP_COMMANDS_FILE"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_VARIABLE = re.compile(r"(?!LD_|DYLD_|PYTHON)[A-Z][A-Z0-9_]{0,63}")
_SECRET = re.compile(r"[a-z][a-z0-9_]{0,62}")
_OURS = frozenset({"HOME", "TMPDIR", "PATH"})
_KNOWN = frozenset(
    {"argv", "read", "environment", "secrets", "memory_mb", "cpu_s", "file_mb", "without"}
)
_MEGABYTE = 1024 * 1024
_LIMITS = Limits(512 * _MEGABYTE, 0, 30, 16 * _MEGABYTE)


@dataclass(frozen=True, slots=True)
class Command:
    """A program that is an MCP server over its standard input and output.

    Attributes:
        argv: the program by its absolute path, and its arguments.
        read: files and folders that it may read and execute, besides those of the system.
        environment: variables that the operator gives it.
        secrets: sealed secrets of the tenant's by name, and the variable each is given as.
        limits: what one process of it may use.
        without: walls that the operator does without.
    """

    argv: tuple[str, ...]
    read: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = _LIMITS
    without: frozenset[str] = frozenset()


def read_commands(path: Path | None) -> Mapping[str, Command]:
    """The commands of the operator's file, by name; none without a file.

    Raises:
        StartupRefused: it cannot be read, says something else than it may, or others may write it.
    """
    if path is None:
        return {}
    try:
        if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise StartupRefused(f"{_SETTING}: others than its owner may write {path}.")
        given = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise StartupRefused(f"{_SETTING}: {path} cannot be read as JSON.") from error
    commands = given.get("commands") if isinstance(given, dict) and len(given) == 1 else None
    if not isinstance(commands, dict):
        raise StartupRefused(f'{_SETTING}: {path} holds {{"commands": {{name: …}}}}.')
    return {name: _command(name, each) for name, each in commands.items()}


def _command(name: str, given: Any) -> Command:
    if not _NAME.fullmatch(name):
        raise _wrong(name, "a name has lower-case letters, digits, hyphens and underscores")
    if not isinstance(given, dict) or given.keys() - _KNOWN:
        raise _wrong(name, f"a command is an object of {', '.join(sorted(_KNOWN))}")
    argv, read = _texts(name, given, "argv"), _texts(name, given, "read")
    if not argv or not all(Path(path).is_absolute() for path in (argv[0], *read)):
        raise _wrong(name, "argv begins with an absolute path, and read holds absolute paths")
    environment, secrets = _named(name, given, "environment"), _named(name, given, "secrets")
    without = _texts(name, given, "without")
    if not all(_SECRET.fullmatch(secret) for secret in secrets):
        raise _wrong(name, "secrets gives each secret, in lower-case letters, its variable")
    for variable in (*environment, *secrets.values()):
        if not _VARIABLE.fullmatch(variable) or variable in _OURS:
            raise _wrong(name, f"{variable[:40]} is no variable that can be given")
    if set(without) - WALLS:
        raise _wrong(name, f"without names {', '.join(sorted(WALLS))}")
    limits = Limits(
        memory_bytes=_amount(name, given, "memory_mb", 512) * _MEGABYTE,
        threads=0,
        cpu_s=_amount(name, given, "cpu_s", 30),
        file_bytes=_amount(name, given, "file_mb", 16) * _MEGABYTE,
    )
    return Command(argv, read, environment, secrets, limits, frozenset(without))


def _texts(name: str, given: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = given.get(key, [])
    if not isinstance(value, list) or not all(isinstance(t, str) and "\0" not in t for t in value):
        raise _wrong(name, f"{key} is a list of texts")
    return tuple(cast("list[str]", value))


def _named(name: str, given: Mapping[str, Any], key: str) -> dict[str, str]:
    value = given.get(key, {})
    if not isinstance(value, dict) or not all(
        isinstance(text, str) and "\0" not in text for text in value.values()
    ):
        raise _wrong(name, f"{key} is an object of texts")
    return cast("dict[str, str]", value)


def _amount(name: str, given: Mapping[str, Any], key: str, default: int) -> int:
    value = given.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 1_000_000:
        raise _wrong(name, f"{key} is a whole number from 1")
    return value


def _wrong(name: str, why: str) -> StartupRefused:
    return StartupRefused(f"{_SETTING}: the command {name[:60]}: {why}.")
