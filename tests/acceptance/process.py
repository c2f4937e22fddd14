"""The server as a process of its own, which tests may kill."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path


def environment(data_dir: Path, **extra: str) -> dict[str, str]:
    """What the process may know: nothing of the test run's own settings."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith("TENANTRY_")}
    return {**kept, "TENANTRY_DATA_DIR": str(data_dir), **extra}


class ServerProcess:
    """A `tenantry serve` that answers."""

    def __init__(self, process: asyncio.subprocess.Process, base_url: str) -> None:
        self._process = process
        self.base_url = base_url

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL: no handler, no goodbye."""
        self._process.kill()

    async def gone(self) -> int:
        """Wait for the end; the exit status."""
        return await self._process.wait()


@asynccontextmanager
async def served(
    settings: Mapping[str, str], log: Path = Path(os.devnull)
) -> AsyncIterator[ServerProcess]:
    """Start the server and wait until it answers; terminate it afterwards if it still runs.

    Args:
        settings: its environment.
        log: takes what it writes to standard error.
    """
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tenantry", "serve", "--port", "0", "--no-worker",
            env=dict(settings),
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )  # fmt: skip
    assert process.stdout is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        assert line.startswith("Tenantry serves "), line
        yield ServerProcess(process, line.removeprefix("Tenantry serves ").strip())
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def command(settings: Mapping[str, str], *arguments: str) -> tuple[int, str, str]:
    """Run `tenantry …`; exit status, output and errors."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tenantry", *arguments,
        env=dict(settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()
