"""Durable work from end to end: the real server, a real worker process, real PostgreSQL."""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.acceptance.process import environment
from tests.service import ApiClient, Service
from tests.worlds import Cluster

pytestmark = pytest.mark.asyncio(loop_scope="module")
HANDBOOK = "# Refunds\n\nGoods may be returned within {days} days, says {name}.\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """One served platform for the module, without workers."""
    async with Service.create(cluster, tmp_path_factory.mktemp("data")) as service:
        yield service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(service: Service) -> AsyncIterator[asyncio.subprocess.Process]:
    """One worker process for the module."""
    settings = service.platform.settings
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tenantry", "worker", "--pool", "ingest", "--heartbeat", "4",
        env=environment(
            settings.data_dir,
            TENANTRY_DATABASE_URL=settings.database_url,
            TENANTRY_SECRETS_FILE=str(settings.secrets_file),
        ),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 60)
    assert line == b"Tenantry works on ingest\n"
    yield process
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 30) == 0


async def _ended(client: ApiClient, job: Any) -> Any:
    async with asyncio.timeout(60):
        while job["state"] not in {"done", "failed", "cancelled"}:
            await asyncio.sleep(0.1)
            job = (await client.get(f"/v1/jobs/{job['id']}")).body
    return job


@pytest.mark.req("FAIR-3", "VEC-3")
@pytest.mark.usefixtures("worker")
async def test_document_is_accepted_at_once_and_searchable_when_its_job_is_done(
    service: Service,
) -> None:
    content = HANDBOOK.format(days=14, name="acme").encode()
    accepted = await service.acme.upload("/v1/documents?wait=false", "refunds.md", content)
    assert accepted.status == 202, accepted.body
    job = await _ended(service.acme, accepted.body)
    assert job["state"] == "done", job
    document = await service.acme.get(f"/v1/documents/{job['document_id']}")
    assert document.status == 200
    assert (await service.globex.get(f"/v1/jobs/{job['id']}")).status == 404
    assert (await service.globex.get(f"/v1/documents/{job['document_id']}")).status == 404
