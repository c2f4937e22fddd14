"""Who is measured: how each is started, and how it is asked."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tests.acceptance.process import command, environment
from tests.service import ApiClient

from tenantry.core.settings import Settings
from tenantry.db.store import open_store

GATEWAY_CORE, OTHER_CORE = 0, 1
PATH = "/v1/chat/completions"


@dataclass(frozen=True)
class Contender:
    """Something that answers.

    Attributes:
        name: as in the table.
        port: where it listens on 127.0.0.1.
        model: the model to ask for.
        pid: the root of its process tree; None when it is not measured itself.
        headers: credentials.
    """

    name: str
    port: int
    model: str = "bench"
    pid: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def pin(core: int) -> None:
    """Bind this process, and what it starts, to one core where there are two."""
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


@asynccontextmanager
async def started(
    *arguments: str, core: int, env: Mapping[str, str] | None = None, log: Path | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process on one core, stopped at the end; what it logs goes to `log`."""
    with ExitStack() as stack:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            env=dict(env) if env is not None else None,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stack.enter_context(log.open("wb")) if log is not None else None,
            preexec_fn=lambda: pin(core),
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def first_line(process: asyncio.subprocess.Process) -> str:
    """What it prints first."""
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip()


@asynccontextmanager
async def provider() -> AsyncIterator[int]:
    """The provider that all of them call; its port."""
    module = "bench.gateway.provider"
    async with started(sys.executable, "-m", module, core=OTHER_CORE) as process:
        yield int(await first_line(process))


@asynccontextmanager
async def bare(provider_port: int) -> AsyncIterator[Contender]:
    """Uvicorn and aiohttp, passing bytes on."""
    module = "bench.gateway.bare"
    async with started(
        sys.executable, "-m", module, str(provider_port), core=GATEWAY_CORE
    ) as process:
        yield Contender("bare uvicorn + aiohttp", int(await first_line(process)), pid=process.pid)


@asynccontextmanager
async def haproxy(provider_port: int, folder: Path) -> AsyncIterator[Contender | None]:
    """One thread of HAProxy, where it is installed."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        yield None
        return
    port = provider_port + 1 if provider_port < 65000 else provider_port - 1
    file = folder / "haproxy.cfg"
    file.write_text(
        "global\n nbthread 1\ndefaults\n mode http\n timeout connect 5s\n timeout client 60s\n"
        f" timeout server 60s\nfrontend f\n bind 127.0.0.1:{port}\n default_backend b\n"
        f"backend b\n server s 127.0.0.1:{provider_port}\n"
    )
    async with started(program, "-db", "-f", str(file), core=GATEWAY_CORE) as process:
        await asyncio.sleep(1)
        yield Contender("HAProxy, one thread", port, pid=process.pid)


@asynccontextmanager
async def tenantry(provider_port: int, folder: Path) -> AsyncIterator[Contender]:
    """Ours, with everything on, over PostgreSQL that flushes each commit to the disk."""
    providers = folder / "providers.json"
    account = {
        "name": "scripted",
        "kind": "openai_compatible",
        "base_url": f"http://127.0.0.1:{provider_port}/v1",
        "key_env": "BENCH_KEY",
        "models": [{"name": "bench", "max_output_tokens": 4096}],
    }
    providers.write_text(json.dumps({"accounts": [account]}))
    data = folder / "data"
    settings = environment(data, TENANTRY_PROVIDERS_FILE=str(providers), BENCH_KEY="k")
    # The database is started here, on the other core, and stays until the end.
    with open_store(Settings(data_dir=data)):
        status, operator, err = await command(settings, "operator-key", "create", "bench")
        if status:
            raise SystemExit(err)
        serve = (sys.executable, "-m", "tenantry", "serve", "--port", "0", "--no-worker")
        log = folder / "server.log"
        async with started(*serve, core=GATEWAY_CORE, env=settings, log=log) as process:
            url = (await first_line(process)).removeprefix("Tenantry serves ")
            client = ApiClient(url, operator.strip())
            made = await client.post("/v1/tenants", {"name": "acme", "owner": {"external_id": "o"}})
            tenant = f"/v1/tenants/{made.body['tenant']['id']}/budgets"
            for unit, period in (("tokens", "day"), ("requests", "month")):
                limit = {"unit": unit, "period": period, "hard_limit": 10**12}
                answer = await client.call("PUT", tenant, json=limit)
                assert answer.status == 200, answer.body
            headers = {"authorization": f"Bearer {made.body['api_key']}"}
            port = int(url.rsplit(":", 1)[1])
            yield Contender("Tenantry, everything on", port, "scripted/bench", process.pid, headers)


def event_loop(folder: Path) -> list[str]:
    """What the server's own watch of its event loop logged."""
    log = folder / "server.log"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [line for line in lines if "event_loop" in line][-10:]


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its children so far."""
    root = psutil.Process(pid)
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        times = process.cpu_times()
        total += times.user + times.system
    return total


def resident_mb(pid: int) -> float:
    """Memory of a process and its children."""
    root = psutil.Process(pid)
    return sum(p.memory_info().rss for p in (root, *root.children(recursive=True))) / 2**20
