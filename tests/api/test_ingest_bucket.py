"""`tenantry ingest s3://…`: a bucket's objects become documents and are kept in step."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from tenantry.cli.client import Client
from tenantry.cli.file_sources import Bucket
from tenantry.cli.file_sync import FileSync
from tenantry.cli.main import cli
from tests.service import ApiClient, Service
from tests.sources.s3 import KEY_ID, S3, SECRET_KEY, bucket_served

FILES = {
    "handbook/bags.md": b"# Bags\n\nBags weigh 23 kg.\n",
    "handbook/old/fees.md": b"# Fees\n\nA seat costs 12 EUR.\n",
    "handbook/old/": b"",  # what consoles leave for a folder
    "handbook/pets.txt": b"Pets travel in the hold.\n",
    "handbook-secret/pay.md": b"# Pay\n\nNot of this folder.\n",
}


@pytest_asyncio.fixture
async def bucket(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[S3]:
    async with bucket_served() as s3:
        s3.objects.update(FILES)
        for name, value in {
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "eu-central-1",
            "AWS_ENDPOINT_URL_S3": s3.url,
        }.items():
            monkeypatch.setenv(name, value)
        yield s3


async def _sources(client: ApiClient) -> dict[str, str]:
    listed = (await client.get("/v1/documents?limit=500")).body["data"]
    found = {row["source"]: row["id"] for row in listed if row["source"]}
    return {source: each for source, each in found.items() if source.startswith("s3://")}


async def _ingest(service: Service, *words: str) -> Result:
    env = {"TENANTRY_BASE_URL": service.base_url, "TENANTRY_API_KEY": service.globex.credential}
    return await asyncio.to_thread(partial(CliRunner().invoke, cli, ["ingest", *words], env=env))


@pytest.mark.req("VEC-3")
async def test_a_bucket_is_kept_in_step(service: Service, bucket: S3) -> None:
    sync = FileSync(
        Client(service.base_url, service.globex.credential), Bucket("s3://docs/handbook/")
    )
    await asyncio.to_thread(sync.round)
    first = await _sources(service.globex)
    top = "s3://docs/handbook"
    assert first.keys() == {f"{top}/bags.md", f"{top}/old/fees.md", f"{top}/pets.txt"}
    bucket.objects["handbook/bags.md"] = b"# Bags\n\nBags weigh 32 kg now.\n"
    del bucket.objects["handbook/pets.txt"]
    await asyncio.to_thread(sync.round)
    del first[f"{top}/pets.txt"]
    assert await _sources(service.globex) == first  # the changed one kept its id
    found = await service.globex.post("/v1/documents/search", {"query": "how heavy, 32 kg"})
    assert any("32 kg" in passage["text"] for passage in found.body["data"])
    assert not await _sources(service.acme)


@pytest.mark.req("VEC-3")
async def test_a_bucket_that_cannot_be_listed_removes_nothing(
    service: Service, bucket: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(service.base_url, service.globex.credential)
    await asyncio.to_thread(FileSync(client, Bucket("s3://docs/handbook")).round)
    before = await _sources(service.globex)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDSOMEBODYELSE")
    result = await _ingest(service, "s3://docs/handbook")
    assert (result.exit_code, "cannot be listed" in result.output) == (1, True), result.output
    assert SECRET_KEY not in result.output
    assert before
    assert await _sources(service.globex) == before


@pytest.mark.req("VEC-3")
async def test_a_bucket_is_added_once(service: Service, bucket: S3) -> None:
    first, again = [await _ingest(service, "s3://docs/handbook/old", "--json") for _ in range(2)]
    assert (first.exit_code, again.exit_code) == (0, 0), first.output
    assert first.stdout == again.stdout
    assert "handbook/old/fees.md" in first.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["s3://"], "is no bucket"),
        (["s3://key:secret@docs/x"], "is no bucket"),
        (["nowhere/at/all"], "no file or folder"),
        (["s3://a", "s3://b", "--watch"], "one folder or bucket"),
    ],
)
def test_a_place_that_is_none_is_refused(words: list[str], told: str) -> None:
    result = CliRunner().invoke(cli, ["ingest", *words], env={"TENANTRY_API_KEY": "not asked"})
    assert result.exit_code == 2
    assert told in result.output
