"""Ingestion: how much a core reads, and what another tenant's chats feel of it.

One server and one worker, processes of their own as in a deployment; PDF files of several pages and
Markdown files of several sections, made here; the embedder that comes with the package. One tenant
asks questions one after the other, alone first, then while the other tenant's documents are read.

Claims: p99 of a chat during ingestion at most 1.25 times that of before, in the same run. Printed
beside it: pages and passages for each second of processor time that the worker and all that it
started took. `python -m bench.ingestion --documents 10000` is the long form.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from tests.acceptance.process import command, environment, served
from tests.service import ApiClient
from tests.unit.knowledge.files import pdf

_GOAL = 1.25
_PAGES, _WORDS = 4, 110
_UPLOADS_AT_ONCE = 4
_STOCK = """
    the customer may return goods within days of delivery invoice payment account service level
    report quarter revenue margin contract supplier warehouse shipment policy employee travel
    expense approval manager security access request incident review deadline region product
""".split()  # noqa: SIM905  # words read better so


@dataclass(frozen=True)
class Scale:
    """How much of it: documents to read at most, and chats of each phase."""

    documents: int
    chats: int


def main() -> int:
    """Measure, and print one line a claim; 1 when the goal is missed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--documents", type=int, default=240)
    options.add_argument("--chats", type=int, default=300)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="tenantry-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        return asyncio.run(_measure(folder / "data", Scale(given.documents, given.chats)))


async def _measure(data_dir: Path, scale: Scale) -> int:
    settings = environment(data_dir)
    status, out, err = await command(settings, "operator-key", "create", "bench")
    if status:
        raise SystemExit(err)
    async with served(settings) as server, _worker(settings) as worker:
        operator = ApiClient(server.base_url, out.strip())
        asking, reading = [await _tenant(operator, name) for name in ("asking", "reading")]
        text = b"# Refunds\n\nRefunds take 21 days.\n"
        await asking.upload("/v1/documents", "a.md", text)
        await _upload(reading, range(scale.documents, scale.documents + 2))
        await _done(reading)
        await _chats(asking, scale.chats // 4)  # everything is loaded by now
        before = await _chats(asking, scale.chats)
        read_before, passages_before = await _read(reading)
        used, began = _processor_s(worker), time.perf_counter()
        await _upload(reading, range(scale.documents))
        during = await _chats(asking, scale.chats)
        read, _ = await _read(reading)
        await _done(reading)
        used, took = _processor_s(worker) - used, time.perf_counter() - began
        passages = (await _read(reading))[1] - passages_before
    pages = scale.documents * _PAGES
    print(f"{scale.documents} documents, {pages} pages, {passages} passages in {took:.0f} s")
    print(
        f"per second of one core: {pages / used:.2f} pages/s, {passages / used:.2f} passages/s"
        f" ({used:.0f} s of processor time, parsing and embedding included)"
    )
    return _verdict(before, during, went_on=read - read_before < scale.documents)


def _verdict(before: list[float], during: list[float], *, went_on: bool) -> int:
    quiet, busy = (float(np.percentile(times, 99)) for times in (before, during))
    middle = float(np.median(during)) / float(np.median(before))
    print(
        f"chat of another tenant, {len(during)} of each: p99 {quiet * 1000:.0f} ms before,"
        f" {busy * 1000:.0f} ms during ingestion: {busy / quiet:.2f} times (goal {_GOAL});"
        f" median {middle:.2f} times"
    )
    if not went_on:
        print("ingestion ended before the chats did: ask for more documents")
        return 1
    if busy / quiet > _GOAL:
        print("the chats of another tenant felt it: goal missed")
        return 1
    return 0


@asynccontextmanager
async def _worker(settings: Mapping[str, str]) -> AsyncIterator[psutil.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tenantry", "worker", "--pool", "ingest",
        env=dict(settings), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    await asyncio.wait_for(process.stdout.readline(), 60)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        await process.wait()


def _processor_s(worker: psutil.Process) -> float:
    """Of the worker, what it started and ended, and what runs of it now."""
    own = worker.cpu_times()
    total = own.user + own.system + own.children_user + own.children_system
    for child in worker.children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return float(total)


async def _tenant(operator: ApiClient, name: str) -> ApiClient:
    created = await operator.post("/v1/tenants", {"name": name, "owner": {"external_id": "owner"}})
    if created.status != 201:
        raise SystemExit(f"{created.status}: {created.body}")
    return ApiClient(operator.base_url, str(created.body["api_key"]))


async def _upload(client: ApiClient, numbers: range) -> None:
    waiting = iter(numbers)

    async def work() -> None:
        for number in waiting:
            name, content = _file(number)
            answer = await client.upload("/v1/documents?wait=false", name, content)
            if answer.status != 202:
                raise SystemExit(f"{answer.status}: {answer.body}")

    await asyncio.gather(*(work() for _ in range(_UPLOADS_AT_ONCE)))


def _file(number: int) -> tuple[str, bytes]:
    """Every other one a PDF; the same pages in both kinds."""
    chance = random.Random(number)
    pages = [" ".join(chance.choices(_STOCK, k=_WORDS)) for _ in range(_PAGES)]
    if number % 2:
        return f"{number}.pdf", pdf(*pages)
    text = "\n\n".join(f"# Part {place}\n\n{page}." for place, page in enumerate(pages))
    return f"{number}.md", text.encode()


async def _chats(client: ApiClient, number: int) -> list[float]:
    """Seconds of each."""
    times = []
    for _ in range(number):
        began = time.perf_counter()
        answer = await client.ask("How long do refunds take?")
        times.append(time.perf_counter() - began)
        if answer.status != 200:
            raise SystemExit(f"{answer.status}: {answer.body}")
    return times


async def _done(client: ApiClient) -> None:
    """Wait until nothing of the tenant waits any more."""
    while True:
        open_jobs = [
            (await client.get(f"/v1/jobs?state={state}&limit=1")).body["data"]
            for state in ("waiting", "queued", "running")
        ]
        if not any(open_jobs):
            break
        await asyncio.sleep(0.2)
    failed = (await client.get("/v1/jobs?state=failed")).body["data"]
    if failed:
        raise SystemExit(f"a document failed: {failed[0]['error']}")


async def _read(client: ApiClient) -> tuple[int, int]:
    """How many of the tenant's documents are read, and their passages."""
    documents, passages, cursor = 0, 0, ""
    while True:
        page = (await client.get(f"/v1/documents?limit=500{cursor}")).body
        documents += len(page["data"])
        passages += sum(document["chunk_count"] for document in page["data"])
        if not page["next_cursor"]:
            return documents, passages
        cursor = f"&cursor={page['next_cursor']}"


if __name__ == "__main__":
    sys.exit(main())
