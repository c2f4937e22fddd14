"""Durable work from end to end: the real server, real worker processes, real PostgreSQL.

One world for all, and an embedder that holds its answers, so that each test finds its jobs in the
middle of their work.
"""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from tenantry.cli.client import Client
from tenantry.cli.file_sources import Folder
from tenantry.cli.file_sync import FileSync
from tests.acceptance.worker import Gate, WorkerProcess, gate_served, working
from tests.service import ApiClient, Service
from tests.worlds import Cluster

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.req("FAIR-3", "VEC-3")]
_OVER = frozenset({"done", "failed", "cancelled"})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gated(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Service, Gate]]:
    """One served platform for the module, without workers, and the gate of its embedder."""
    folder = tmp_path_factory.mktemp("data")
    async with (
        gate_served(folder) as (gate, providers_file),
        Service.create(cluster, folder, providers_file) as service,
    ):
        yield service, gate


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(gated: tuple[Service, Gate]) -> AsyncIterator[WorkerProcess]:
    """One worker for the module; it ends well when it is told to."""
    async with working(gated[0]) as worker:
        yield worker
        worker.send(signal.SIGTERM)
        assert await worker.gone() == 0


@pytest.fixture
def service(gated: tuple[Service, Gate]) -> Service:
    return gated[0]


@pytest.fixture
def gate(gated: tuple[Service, Gate]) -> Gate:
    gated[1].is_open.set()
    gated[1].asked.clear()
    return gated[1]


async def _accepted(client: ApiClient, name: str) -> Any:
    text = f"# {name}\n\nThis is what {name} says.\n".encode()
    answer = await client.upload("/v1/documents?wait=false", f"{name}.md", text)
    assert answer.status == 202, answer.body
    assert answer.headers["location"] == f"/v1/jobs/{answer.body['id']}"
    return answer.body


async def _over(client: ApiClient, job: Any) -> Any:
    async with asyncio.timeout(60):
        while job["state"] not in _OVER:
            await asyncio.sleep(0.1)
            job = (await client.get(f"/v1/jobs/{job['id']}")).body
    return job


def _counts(service: Service, ids: list[str]) -> tuple[int, int, int]:
    """Documents, passages, and ledger rows of embedding that these jobs left."""
    with service.admin() as admin:
        row = admin.execute(
            "SELECT (SELECT count(*) FROM tenantry.documents WHERE document_id = ANY (d.ids)),"
            " (SELECT count(*) FROM tenantry.chunks WHERE document_id = ANY (d.ids)),"
            " (SELECT count(*) FROM tenantry.usage_events WHERE request_id = ANY (d.requests)"
            "   AND operation = 'embedding')"
            " FROM (SELECT array_agg(subject::uuid) AS ids, array_agg('job-' || job_id) AS requests"
            "         FROM tenantry.jobs WHERE job_id = ANY (%s::uuid[])) AS d",
            [ids],
        ).fetchone()
    assert row is not None
    documents, passages, metered = row
    return documents, passages, metered


async def test_a_document_is_accepted_at_once_and_there_when_its_job_is_done(
    service: Service, gate: Gate, worker: WorkerProcess
) -> None:
    gate.is_open.clear()
    job = await _accepted(service.acme, "handbook")
    again = await _accepted(service.acme, "handbook")
    assert (again["id"], job["state"]) == (job["id"], "queued")
    assert (await service.acme.get(f"/v1/documents/{job['document_id']}")).status == 404
    gate.is_open.set()
    events = await service.acme.get(f"/v1/jobs/{job['id']}/events")
    shown = [orjson.loads(line[6:]) for line in events.body.splitlines() if line]
    assert shown[-1]["state"] == "done"
    assert shown[-1]["progress"] == {"done": 1, "total": 1}
    found = await service.acme.get(f"/v1/documents/{job['document_id']}")
    assert (found.status, found.body["title"]) == (200, "handbook.md")
    assert _counts(service, [job["id"]]) == (1, 1, 1)
    assert (await service.globex.get(f"/v1/jobs/{job['id']}")).status == 404
    with service.admin() as admin:
        assert admin.execute("SELECT count(*) FROM tenantry.job_inputs").fetchone() == (0,)


async def test_a_killed_workers_jobs_are_finished_by_another_each_once(
    service: Service, gate: Gate, worker: WorkerProcess
) -> None:
    gate.is_open.clear()
    worker.send(signal.SIGSTOP)
    clients = (service.acme, service.globex)
    jobs = [(c, await _accepted(c, f"k{n}-{i}")) for n in range(3) for i, c in enumerate(clients)]
    async with working(service, "--concurrency", "3") as killed:
        await gate.reached(3)
        killed.send(signal.SIGKILL)
        await killed.gone()
    worker.send(signal.SIGCONT)
    gate.is_open.set()
    ended = [await _over(client, job) for client, job in jobs]
    assert [job["state"] for job in ended] == ["done"] * 6
    assert max(job["attempts"] for job in ended) == 2
    assert _counts(service, [job["id"] for job in ended]) == (6, 6, 6)


async def test_a_worker_that_was_stopped_and_wakes_up_changes_nothing(
    service: Service, gate: Gate, worker: WorkerProcess
) -> None:
    gate.is_open.clear()
    job = await _accepted(service.acme, "zombie")
    await gate.reached(1)
    worker.send(signal.SIGSTOP)
    async with working(service):
        await gate.reached(2)
        worker.send(signal.SIGCONT)
        gate.is_open.set()
        ended = await _over(service.acme, job)
    assert (ended["state"], ended["attempts"]) == ("done", 2)
    assert _counts(service, [job["id"]]) == (1, 1, 1)


async def test_jobs_are_cancelled_paused_and_deleted_under_way(
    service: Service, gate: Gate, worker: WorkerProcess
) -> None:
    gate.is_open.clear()
    cancelled, paused, deleted = [await _accepted(service.acme, n) for n in ("c1", "p1", "d1")]
    await gate.reached(3)
    for job, state in ((cancelled, "cancelled"), (paused, "paused")):
        answer = await service.acme.call("PATCH", f"/v1/jobs/{job['id']}", json={"state": state})
        assert (answer.status, answer.body["state"]) == (200, state)
    gone = await service.acme.delete(f"/v1/documents/{deleted['document_id']}")
    assert gone.status == 204
    gate.is_open.set()
    path = f"/v1/jobs/{paused['id']}"
    await service.acme.call("PATCH", path, json={"state": "waiting"})
    assert (await _over(service.acme, paused))["state"] == "done"
    assert (await service.acme.get(f"/v1/jobs/{deleted['id']}")).status == 404
    for job in (cancelled, deleted):
        assert (await service.acme.get(f"/v1/documents/{job['document_id']}")).status == 404
    assert _counts(service, [cancelled["id"], paused["id"]]) == (1, 1, 1)


async def test_a_file_that_cannot_be_read_fails_alone_and_says_why(
    service: Service, gate: Gate, worker: WorkerProcess
) -> None:
    bad = await service.acme.upload("/v1/documents?wait=false", "b.pdf", b"%PDF-1.7 no more")
    good = await _accepted(service.acme, "good")
    failed = await _over(service.acme, bad.body)
    assert (await _over(service.acme, good))["state"] == "done"
    assert (failed["state"], failed["attempts"]) == ("failed", 1)
    assert failed["error"]["code"] == "document_unreadable"
    dead = await service.acme.get("/v1/jobs?state=failed")
    assert [job["id"] for job in dead.body["data"]] == [failed["id"]]
    assert (await service.acme.delete(f"/v1/jobs/{failed['id']}")).status == 204
    assert (await service.acme.get("/v1/jobs?state=failed")).body["data"] == []


async def test_a_tenants_index_comes_and_goes_as_its_size_changes(
    service: Service, gate: Gate, worker: WorkerProcess
) -> None:
    large, small = [await _accepted(service.acme, name) for name in ("large", "small")]
    await _over(service.acme, large)
    await _over(service.acme, small)
    _count_as(service, large, 10_000)
    added = await _accepted(service.acme, "one more")
    await _over(service.acme, added)
    async with working(service, pool="maintenance"):
        await _over(service.acme, await _job(service.acme, "index"))
        assert _shelves(service) == [("ready",)]
        _count_as(service, large, 1)
        await service.acme.delete(f"/v1/documents/{added['document_id']}")
        await _over(service.acme, await _job(service.acme, "index"))
        assert _shelves(service) == []
        storage = [await _over(c, await _job(c, "storage")) for c in (service.acme, service.globex)]
    assert [job["state"] for job in storage] == ["done"] * 2
    with service.admin() as admin:
        (counted,) = admin.execute(
            "SELECT count(DISTINCT tenant_id) FROM tenantry.usage_events"
            " WHERE operation = 'storage' AND model = 'documents'"
        ).fetchall()
    assert counted == (2,)
    actions = {e["action"] for e in (await service.acme.get("/v1/audit?limit=500")).body["data"]}
    assert {"vectors.promoted", "vectors.demoted"} <= actions


def _count_as(service: Service, job: Any, passages: int) -> None:
    """Let a document count for so many passages."""
    with service.admin() as admin:
        admin.execute(
            "UPDATE tenantry.documents SET chunk_count = %s WHERE document_id = %s",
            [passages, job["document_id"]],
        )


def _shelves(service: Service) -> list[tuple[str]]:
    with service.admin() as admin:
        return admin.execute("SELECT state FROM tenantry.vector_shelves").fetchall()


async def _job(client: ApiClient, kind: str) -> Any:
    """The tenant's one job of this kind."""
    async with asyncio.timeout(60):
        while True:
            listed = (await client.get("/v1/jobs?limit=500")).body["data"]
            if found := [job for job in listed if job["kind"] == kind]:
                return found[0]
            await asyncio.sleep(0.1)


@pytest.mark.req("FAIR-3", "VEC-3")
async def test_a_change_of_embedder_is_carried_out_and_computes_beside_the_worker(
    service: Service, gate: Gate, worker: WorkerProcess
) -> None:
    assert (await _over(service.acme, await _accepted(service.acme, "moved")))["state"] == "done"
    chosen = await service.acme.call("PUT", "/v1/embedder", json={"model": "embedded"})
    assert chosen.body["change"]["dimension"] == 384
    job = (await service.acme.get(f"/v1/jobs/{chosen.body['change']['job']}")).body
    assert (await _over(service.acme, job))["state"] == "done"
    # Not what the deployment embeds with, and no less kept away from the worker's heartbeat.
    assert any("engine_child" in program for program in worker.programs())
    embedder = (await service.acme.get("/v1/embedder")).body
    assert (embedder["dimension"], embedder["change"]) == (384, None)
    found = await service.acme.post("/v1/documents/search", {"query": "what does moved say?"})
    assert any("moved says" in passage["text"] for passage in found.body["data"])


async def test_a_folder_is_kept_in_step(
    service: Service, gate: Gate, worker: WorkerProcess, tmp_path: Path
) -> None:
    folder = tmp_path / "policies"
    (folder / "old").mkdir(parents=True)
    (folder / "bags.md").write_text("# Bags\n\nBags weigh 23 kg.\n")
    (folder / "old" / "fees.md").write_text("# Fees\n\nNone.\n")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 no more")
    client = Client(service.base_url, service.globex.credential)
    sync = FileSync(client, Folder(folder))
    await asyncio.to_thread(sync.round)
    first = await _sources(service.globex)
    assert first.keys() == {"policies/bags.md", "policies/old/fees.md"}
    (folder / "bags.md").write_text("# Bags\n\nBags weigh 32 kg now.\n")
    (folder / "old" / "fees.md").unlink()
    await asyncio.to_thread(sync.round)
    assert await _sources(service.globex) == {"policies/bags.md": first["policies/bags.md"]}
    assert not await _sources(service.acme)


async def _sources(client: ApiClient) -> dict[str, str]:
    listed = (await client.get("/v1/documents?limit=500")).body["data"]
    return {row["source"]: row["id"] for row in listed if row["source"]}
