"""Workers that die at random while tenants' documents are read: nothing lost, nothing twice."""

import asyncio
import random
import signal
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path

import pytest

from tests.acceptance.worker import HEARTBEAT_S, Gate, WorkerProcess, gate_served, working
from tests.service import ApiClient, Service
from tests.worlds import Cluster

_WORKERS = 3
_ROUNDS, _AT_ONCE = 20, 3
_LATE_S = 2.0
"""Within what a frozen worker's jobs are done, once its heartbeat has run out."""


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


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.req("FAIR-3", "VEC-3")
async def test_frozen_workers_jobs_are_done_by_another_in_time_and_once(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Twenty rounds: one worker takes jobs and freezes; it wakes up beside the one that took over.

    What a calm round takes of the same work is what the machine takes for it: on one that is busy
    with other things that is allowed beside the two seconds, twice.
    """
    async with (
        gate_served(tmp_path) as (gate, providers_file),
        Service.create(cluster, tmp_path, providers_file) as service,
        working(service) as first,
        working(service) as second,
    ):
        clients = [await _client(service, f"zombie-{n}") for n in range(_AT_ONCE)]
        awake, asleep = first, second
        calm = await _round(service, gate, clients, "calm")
        late = []
        for number in range(_ROUNDS):
            asleep.send(signal.SIGSTOP)
            late.append(await _round(service, gate, clients, str(number), (awake, asleep)))
            awake, asleep = asleep, awake
        with service.admin() as admin:
            there = admin.execute(
                "SELECT (SELECT count(*) FROM tenantry.documents),"
                " (SELECT count(*) FROM tenantry.chunks),"
                " (SELECT count(*) FROM tenantry.usage_events WHERE operation = 'embedding'),"
                " (SELECT count(*) FROM tenantry.jobs WHERE state = 'done'),"
                " (SELECT count(*) FROM tenantry.audit_events WHERE outcome = 'refused')"
            ).fetchone()
    overdue = sorted(taken - HEARTBEAT_S for taken in late)
    print(f"{there=} {calm=:.2f} {overdue[0]=:.2f} {overdue[-1]=:.2f}")  # noqa: T201  # its result
    assert there == ((_ROUNDS + 1) * _AT_ONCE,) * 4 + (0,)
    assert overdue[-1] <= max(_LATE_S, 2 * calm)


async def _round(
    service: Service,
    gate: Gate,
    clients: list[ApiClient],
    name: str,
    workers: tuple[WorkerProcess, WorkerProcess] | None = None,
) -> float:
    """A document of each tenant; seconds until all are done, since the worker at work froze."""
    gate.asked.clear()
    if workers:
        gate.is_open.clear()
    began = _now(service)
    for number, client in enumerate(clients):
        text = f"# Round {name} {number}\n\nSomebody sleeps through this.\n".encode()
        answer = await client.upload("/v1/documents?wait=false", f"{name}.md", text)
        assert answer.status == 202, answer.body
    if workers:
        await gate.reached(len(clients))
        awake, asleep = workers
        awake.send(signal.SIGSTOP)
        began = _now(service)
        asleep.send(signal.SIGCONT)
        await gate.reached(2 * len(clients))
        awake.send(signal.SIGCONT)
        gate.is_open.set()
    async with asyncio.timeout(60):
        while True:
            with service.admin() as admin:
                row = admin.execute(
                    "SELECT count(*) FILTER (WHERE state <> 'done'), max(finished_at)"
                    " FROM tenantry.jobs"
                ).fetchone()
            assert row is not None
            if row[0] == 0:
                return float((row[1] - began).total_seconds())
            await asyncio.sleep(0.1)


def _now(service: Service) -> datetime:
    with service.admin() as admin:
        row = admin.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    now: datetime = row[0]
    return now


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
