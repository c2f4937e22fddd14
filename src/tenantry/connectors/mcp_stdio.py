"""An MCP server that is a program of the operator's: one process a session, in a sandbox.

Threat: a program that a stranger wrote reads the platform's keys, reaches the network, goes on
after its session, or floods us (CON-4).
Invariant: it starts with an empty environment but for what the operator names, in a folder and a
process group of its own, behind the walls of `mcp_child`; with the session it is dead, the folder
gone. What it writes is bounded, and what it says on standard error is thrown away.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter

from tenantry.connectors.answers import MOST_BYTES
from tenantry.connectors.mcp_commands import Command
from tenantry.core.errors import InvalidRequest, QueryFailed, TenantryError
from tenantry.core.secret import Secret

_PROGRAM = "tenantry.connectors.mcp_child"
_MOST_LINES = 4_000
_STARTED_S = 10.0
_DRAINED_S = 1.0
_CHUNK_BYTES = 64 * 1024
_UNBUILT: Mapping[str, str] = {
    "network": "no space without a network can be made on this machine",
    "processes": "no space without other processes can be made on this machine",
    "files": "this kernel has no Landlock",
    "system": "the system would not",
    "read": "a folder that it may read is not there",
    "program": "the operator's program is not there, or cannot be executed",
}
ToSdk = MemoryObjectSendStream[SessionMessage | Exception]
FromSdk = MemoryObjectReceiveStream[SessionMessage]


class StdioWay:
    """A way to a process, for one session."""

    def __init__(self, command: Command, secrets: Mapping[str, Secret]) -> None:
        """Starts nothing.

        Args:
            command: the operator's.
            secrets: those that it names.

        Raises:
            InvalidRequest: one is missing, there is another one, or it cannot be given.
        """
        self.failure: TenantryError | None = None
        self.status = 0
        self._command = command
        self._environment = {**command.environment, **revealed(command, secrets)}

    def transport(self) -> AbstractAsyncContextManager[Any]:
        """The SDK's two streams."""
        return self._streams()

    @asynccontextmanager
    async def _streams(self) -> AsyncIterator[Any]:
        place = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="tenantry-mcp-"))
        process: Process | None = None
        try:
            process = await self._started(place)
            to_sdk, from_server = anyio.create_memory_object_stream[SessionMessage | Exception]()
            to_server, from_sdk = anyio.create_memory_object_stream[SessionMessage]()
            async with (
                to_sdk, from_server, to_server, from_sdk, anyio.create_task_group() as group
            ):  # fmt: skip
                group.start_soon(self._read, process, to_sdk)
                group.start_soon(self._write, process, from_sdk)
                try:
                    yield from_server, to_server
                finally:
                    group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                if process is not None:
                    await _ended(process)
                await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)

    async def _started(self, place: Path) -> Process:
        command, folder, root = self._command, str(place / "own"), str(place / "root")
        for path in (folder, root):
            await asyncio.to_thread(os.mkdir, path, 0o700)
        environment = {"HOME": folder, "TMPDIR": folder, **self._environment}
        plan = {
            "argv": command.argv,
            "read": command.read,
            "folder": folder,
            "root": root,
            "variables": sorted(environment),
            "limits": asdict(command.limits),
            "without": sorted(command.without),
        }
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-m", _PROGRAM, json.dumps(plan),
                stdin=PIPE, stdout=PIPE, stderr=DEVNULL,
                env=environment,
                cwd=folder,
                start_new_session=True,
                limit=MOST_BYTES,
            )  # fmt: skip
        except OSError:
            raise self._failed("The server's process cannot be started just now.") from None
        try:
            async with asyncio.timeout(_STARTED_S):
                said = await process.stdout.readline() if process.stdout else b""
            if said != b"ready\n":
                why = _UNBUILT.get(said.decode("ascii", "replace").strip(), "it ended at once")
                raise self._failed(f"The server's process cannot be confined: {why}.")
        except BaseException:
            with anyio.CancelScope(shield=True):
                await _ended(process)
            raise
        return process

    async def _read(self, process: Process, to_sdk: ToSdk) -> None:
        stream, size, lines = process.stdout, 0, 0
        async with to_sdk:
            while stream is not None:
                try:
                    line = await stream.readline()
                except ValueError:  # longer than its limit
                    self._failed("The server's answer is larger than allowed.")
                    return
                if not line:
                    return
                size, lines = size + len(line), lines + 1
                if size > MOST_BYTES or lines > _MOST_LINES:
                    self._failed("The server's answer is larger than allowed.")
                    return
                try:
                    message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValueError:
                    self._failed("The server wrote something that is no JSON-RPC.")
                    return
                with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                    await to_sdk.send(SessionMessage(message))

    async def _write(self, process: Process, from_sdk: FromSdk) -> None:
        async with from_sdk:
            async for sent in from_sdk:
                text = sent.message.model_dump_json(by_alias=True, exclude_unset=True)
                if process.stdin is None:
                    return
                try:
                    process.stdin.write(text.encode() + b"\n")
                    await process.stdin.drain()
                except OSError:
                    return  # it has ended; what reads notices

    def _failed(self, message: str) -> TenantryError:
        self.failure = self.failure or QueryFailed(message)
        return self.failure


def revealed(command: Command, secrets: Mapping[str, Secret]) -> dict[str, str]:
    """The secrets that a command names, in the clear, by variable.

    Raises:
        InvalidRequest: one is missing, there is another one, or it cannot be given.
    """
    if other := sorted(secrets.keys() - command.secrets.keys()):
        raise InvalidRequest(f"This command takes no secret {other[0][:40]}.")
    if missing := sorted(name for name in command.secrets if not secrets.get(name)):
        raise InvalidRequest(f"The secret {missing[0]} is missing.")
    found = {variable: secrets[name].reveal() for name, variable in command.secrets.items()}
    if any("\0" in text for text in found.values()):
        raise InvalidRequest("A secret holds a character that cannot be given to a process.")
    return found


async def _ended(process: Process) -> None:
    """Kill it with all that is in its group, and read what it still wrote, so that pipes close."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if process.stdin is not None:
        process.stdin.close()
    with suppress(TimeoutError):  # a pipe that was handed on beyond the group stays open
        async with asyncio.timeout(_DRAINED_S):
            while process.stdout is not None and await process.stdout.read(_CHUNK_BYTES):
                pass
    await process.wait()
