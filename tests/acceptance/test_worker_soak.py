"""Workers that die at random while tenants' documents are read: nothing lost, nothing twice."""

import asyncio
import random
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.acceptance.worker import HEARTBEAT_S, WorkerProcess, gate_served, working
from tests.service import ApiClient, Service
from tests.worlds import Cluster

_WORKERS = 3


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.req("FAIR-3", "VEC-3")
@pytest.mark.parametrize(("documents", "tenants", "kills"), [(120, 6, 5), (2000, 20, 50)])
async def test_workers_die_at_random_and_each_document_is_there_once(
    cluster: Cluster, tmp_path: Path, documents: int, tenants: int, kills: int
) -> None:
    async with (
        gate_served(tmp_path) as (_, providers_file),
        Service.create(cluster, tmp_path, providers_file) as service,
    ):
        clients = [await _client(service, f"soak-{n}") for n in range(tenants)]
        for number in range(documents):
            text = f"# Page {number}\n\nThis is page {number} of the soak.\n".encode()
            path = "/v1/documents?wait=false"
            answer = await clients[number % tenants].upload(path, f"{number}.md", text)
            assert answer.status == 202, answer.body
        await _work_and_kill(service, documents, kills)
        with service.admin() as admin:
            states = dict(
                admin.execute("SELECT state, count(*) FROM tenantry.jobs GROUP BY state").fetchall()
            )
            wordless = admin.execute(
                "SELECT count(*) FROM tenantry.jobs WHERE state = 'failed' AND error = ''"
            ).fetchone()
            there = admin.execute(
                "SELECT (SELECT count(*) FROM tenantry.documents),"
                " (SELECT count(*) FROM tenantry.chunks),"
                " (SELECT count(*) FROM tenantry.usage_events WHERE operation = 'embedding'),"
                " (SELECT count(*) FROM tenantry_queue.pgqueuer WHERE status <> 'failed')"
            ).fetchone()
            tries = admin.execute("SELECT max(tries), sum(tries) FROM tenantry.jobs").fetchone()
        print(f"{states=} {there=} {tries=}")  # noqa: T201  # the figures of a soak are its result
        assert sum(states.values()) == documents
        assert set(states) <= {"done", "failed"}
        assert wordless == (0,)
        assert there == (states["done"],) * 3 + (0,)


async def _client(service: Service, name: str) -> ApiClient:
    body = {"name": name, "owner": {"external_id": f"{name}-owner"}}
    created = await service.operator.post("/v1/tenants", body)
    assert created.status == 201, created.body
    return service.client(created.body["api_key"])


async def _work_and_kill(service: Service, documents: int, kills: int) -> None:
    """Keep three workers at work until all is over; kill or freeze one of them now and then."""
    chance = random.Random(7)
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(working(service)) for _ in range(_WORKERS)]
        killed = 0
        while (over := _over(service)) < documents:
            await asyncio.sleep(0.5)
            if killed < kills and over >= documents * killed // (2 * kills):
                killed += 1
                place = chance.randrange(_WORKERS)
                await _end_one(workers[place], freeze=killed % 3 == 0)
                if not workers[place].is_alive:
                    workers[place] = await stack.enter_async_context(working(service))
        assert killed == kills
        await asyncio.sleep(1.5)  # a worker reports the end of its last job within a second


async def _end_one(worker: WorkerProcess, *, freeze: bool) -> None:
    if not freeze:
        worker.send(signal.SIGKILL)
        await worker.gone()
        return
    worker.send(signal.SIGSTOP)
    await asyncio.sleep(HEARTBEAT_S + 1.5)
    worker.send(signal.SIGCONT)


def _over(service: Service) -> int:
    with service.admin() as admin:
        row = admin.execute(
            "SELECT count(*) FROM tenantry.jobs WHERE state IN ('done', 'failed')"
        ).fetchone()
    assert row is not None
    return int(row[0])
