"""What the platform costs: start to first answer, idle memory, and a thousand tenants.

Claims: start to first answer on an existing data directory under 3 s; an idle server under 150 MB,
PostgreSQL not counted; 1,000 tenants provisioned in under 30 s; an idle tenant costs no memory.
"""

import asyncio
import tempfile
import time
from pathlib import Path

import psutil
from tests.acceptance.process import command, environment, served
from tests.service import ApiClient

_TENANTS = 1000
_AT_ONCE = 8
_MB = 1024 * 1024


def main() -> None:
    """Measure, and print one line a claim."""
    with tempfile.TemporaryDirectory(prefix="tenantry-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        asyncio.run(_measure(folder / "data"))


async def _measure(data_dir: Path) -> None:
    settings = environment(data_dir)
    status, out, err = await command(settings, "operator-key", "create", "bench")
    if status:
        raise SystemExit(err)
    operator = out.strip()
    async with served(settings) as server:
        client = ApiClient(server.base_url, operator)
        key = await _tenant(client, "first")
        await ApiClient(server.base_url, key).upload(
            "/v1/documents", "a.md", b"# Refunds\n\nRefunds take 21 days.\n"
        )
    started = time.monotonic()
    async with served(settings) as server:
        answer = await ApiClient(server.base_url, key).ask("How long do refunds take?")
        took = time.monotonic() - started
        print(f"start to first answer: {took:.2f} s (goal under 3), status {answer.status}")
    async with served(settings) as server:
        client = ApiClient(server.base_url, operator)
        await client.get("/healthz")
        idle = _memory(server.pid)
        print(f"idle server: {idle / _MB:.0f} MB resident (goal under 150)")
        started = time.monotonic()
        await _provision(client)
        took = time.monotonic() - started
        print(f"{_TENANTS} tenants provisioned over HTTP: {took:.1f} s (goal under 30)")
        grown = _memory(server.pid) - idle
        print(f"memory grown by them: {grown / _MB:.1f} MB, {grown / _TENANTS:.0f} bytes each")


async def _provision(client: ApiClient) -> None:
    waiting = iter(range(_TENANTS))

    async def work() -> None:
        for number in waiting:
            await _tenant(client, f"tenant-{number}")

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))


async def _tenant(client: ApiClient, name: str) -> str:
    created = await client.post("/v1/tenants", {"name": name, "owner": {"external_id": "owner"}})
    if created.status != 201:
        raise SystemExit(f"{created.status}: {created.body}")
    return str(created.body["api_key"])


def _memory(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().rss)
