"""Workers as processes of their own, which tests may kill, and an embedder that tests may hold."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import psutil
from aiohttp import web

from tests.acceptance.process import environment
from tests.providers.forms import embeddings
from tests.service import Service

HEARTBEAT_S = 2


class Gate:
    """An embeddings server whose answers wait until the gate is open."""

    def __init__(self) -> None:
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.asked: list[str] = []
        self._changed = asyncio.Condition()

    async def reached(self, number: int) -> None:
        """Return once so many texts have been asked for, since the last `forget`."""
        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(lambda: len(self.asked) >= number)

    async def answer(self, request: web.Request) -> web.Response:
        """The endpoint."""
        body = orjson.loads(await request.read())
        async with self._changed:
            self.asked += body["input"]
            self._changed.notify_all()
        await self.is_open.wait()
        return web.json_response(embeddings(body, 8, None))

    def providers_file(self, folder: Path, port: int) -> Path:
        """A deployment that embeds here."""
        (folder / "gate.key").write_text("sk-gate")
        path = folder / "providers.json"
        account = {
            "name": "gate", "kind": "openai_compatible", "base_url": f"http://127.0.0.1:{port}/v1",
            "key_file": "gate.key", "models": [{"name": "embed", "kind": "embedding"}],
        }  # fmt: skip
        embedder = {"account": "gate", "model": "embed", "dimension": 8}
        keyless = {"same_words": 0.8, "some_words": 0.85, "one_word": 0.95, "sentence": 0.5}
        content = {"accounts": [account], "embedder": embedder, "keyless": keyless}
        path.write_text(json.dumps(content))
        return path


@asynccontextmanager
async def gate_served(folder: Path) -> AsyncIterator[tuple[Gate, Path]]:
    """The gate over HTTP, and the providers file that leads to it."""
    gate = Gate()
    application = web.Application()
    application.router.add_post("/v1/embeddings", gate.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield gate, gate.providers_file(folder, runner.addresses[0][1])
    finally:
        gate.is_open.set()
        await runner.cleanup()


class WorkerProcess:
    """A `tenantry worker` that works."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.returncode is None

    def programs(self) -> list[str]:
        """Command lines of what it started and still runs."""
        children = psutil.Process(self._process.pid).children(recursive=True)
        return [" ".join(child.cmdline()) for child in children]

    def send(self, number: signal.Signals) -> None:
        """A signal."""
        self._process.send_signal(number)

    async def gone(self) -> int:
        """Wait for the end; the exit status."""
        return await asyncio.wait_for(self._process.wait(), 60)


@asynccontextmanager
async def working(
    service: Service, *options: str, pool: str = "ingest"
) -> AsyncIterator[WorkerProcess]:
    """Start a worker and wait until it works; terminate it afterwards if it still runs."""
    settings = service.platform.settings
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tenantry", "worker",
        "--pool", pool, "--heartbeat", str(HEARTBEAT_S), *options,
        env=environment(
            settings.data_dir,
            TENANTRY_DATABASE_URL=settings.database_url,
            TENANTRY_SECRETS_FILE=str(settings.secrets_file),
            TENANTRY_PROVIDERS_FILE=str(settings.providers_file),
        ),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        assert line == f"Tenantry works on {pool}\n".encode(), line
        yield WorkerProcess(process)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            await asyncio.wait_for(process.wait(), 60)
