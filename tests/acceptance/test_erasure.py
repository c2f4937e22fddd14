"""What is deleted: gone from search and every table at once, and from every file by `erase`."""

import struct
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import psycopg
import pytest
import pytest_asyncio
from psycopg import sql

from tenantry.core.errors import Forbidden
from tenantry.db.erase import erase
from tenantry.security.erasure import carry_out
from tests.acceptance.process import command, environment
from tests.service import Service
from tests.worlds import Cluster

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.req("VEC-3", "SEC-4")]
_COLUMNS = """
SELECT c.relname, a.attname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
 WHERE c.relnamespace = 'tenantry'::regnamespace AND c.relkind IN ('r', 'p')
   AND a.attname IN ('document_id', 'subject') AND NOT a.attisdropped
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """One served platform for the module."""
    async with Service.create(cluster, tmp_path_factory.mktemp("data")) as service:
        yield service


class Canary:
    """A word that stands nowhere else, in a document of acme."""

    def __init__(self, service: Service) -> None:
        self.word = f"zq{uuid4().hex}7"
        self.document_id = ""
        self._service = service
        self._bytes = {self.word.encode()}  # lower case and no known word: the lexeme is the same

    async def add(self) -> None:
        """Upload the document, behind some that stay; its vector counts as a canary, too."""
        for client in (self._service.acme, self._service.globex):
            await client.upload("/v1/documents", "kept.txt", b"Parcels are kept for a week.")
        text = f"# {self.word}\n\nThe parcel of {self.word} arrives on Monday.\n".encode()
        added = await self._service.acme.upload("/v1/documents", f"{self.word}.md", text)
        self.document_id = added.body["id"]
        with self._service.admin() as admin:
            for (vector,) in admin.execute(
                "SELECT embedding::text FROM tenantry.chunk_embeddings WHERE document_id = %s",
                [self.document_id],
            ):
                head = orjson.loads(vector)[:16]
                self._bytes.add(struct.pack("<16e", *head))

    async def found(self) -> int:
        """How many passages a search for it finds that have it."""
        answer = await self._service.acme.post("/v1/documents/search", {"query": self.word})
        return sum(self.word in passage["text"] for passage in answer.body["data"])

    def rows(self) -> dict[str, int]:
        """Rows about the document, by table and column, as far as there are any."""
        counts = {}
        with self._service.admin() as admin:
            for table, column in admin.execute(_COLUMNS).fetchall():
                statement = sql.SQL("SELECT count(*) FROM tenantry.{} WHERE {}::text = %s")
                asked = statement.format(sql.Identifier(table), sql.Identifier(column))
                (number,) = _one(admin.execute(asked, [self.document_id]))
                if number:
                    counts[f"{table}.{column}"] = number
        return counts

    def files(self) -> list[Path]:
        """Every file of the database or of the server that has the word or the vector."""
        with self._service.admin() as admin:
            admin.execute("CHECKPOINT")
            (folder,) = _one(admin.execute("SHOW data_directory"))
            (oid,) = _one(
                admin.execute("SELECT oid FROM pg_database WHERE datname = current_database()")
            )
        below = (Path(folder) / "base" / str(oid), self._service.platform.settings.data_dir)
        return [file for file in _files(below) if self._is_in(file.read_bytes())]

    def _is_in(self, content: bytes) -> bool:
        return any(canary in content for canary in self._bytes)


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in folder.rglob("*") if path.is_file())


def _one(cursor: psycopg.Cursor[Any]) -> Any:
    row = cursor.fetchone()
    assert row is not None
    return row


async def _by_command(service: Service) -> tuple[int, dict[str, str]]:
    """Erase as an operator does; the exit status, and what came of each table."""
    settings = service.platform.settings
    known = environment(
        settings.data_dir,
        TENANTRY_DATABASE_URL=settings.database_url,
        TENANTRY_SECRETS_FILE=str(settings.secrets_file),
    )
    status, out, err = await command(known, "erase", "--wait", "1", "--json")
    assert not err, err
    return status, {row["table"]: row["outcome"] for row in orjson.loads(out)}


async def _erased(service: Service) -> dict[str, str]:
    address = service.cluster.admin_url(service.database)
    done = await carry_out(service.platform.audit, address, 0.3)
    return {each.table: each.outcome for each in done}


async def test_a_deleted_document_is_nowhere(service: Service) -> None:
    canary = Canary(service)
    await canary.add()
    assert await canary.found() == 1
    assert canary.rows().keys() >= {"documents.document_id", "chunks.document_id"}
    assert canary.files()

    deleted = await service.acme.delete(f"/v1/documents/{canary.document_id}")
    assert deleted.status == 204
    assert await canary.found() == 0
    assert canary.rows() == {}
    with service.admin() as admin:
        admin.execute("VACUUM")
    assert canary.files()  # PostgreSQL gave the place away, and left the bytes

    status, outcomes = await _by_command(service)
    assert status == 0
    assert outcomes.keys() >= {"documents", "chunks", "chunk_embeddings", "jobs", "job_inputs"}
    assert set(outcomes.values()) == {"erased"}
    assert canary.files() == []
    for client in (service.acme, service.globex):
        kept = await client.post("/v1/documents/search", {"query": "How long are parcels kept?"})
        assert [passage["title"] for passage in kept.body["data"]] == ["kept.txt"]
    events = (await service.operator.get("/v1/operator/audit")).body["data"]
    assert {"erase.started", "erase.ended"} <= {event["action"] for event in events}


async def test_what_cannot_be_erased_now_is_named_and_goes_the_next_time(
    service: Service,
) -> None:
    canary = Canary(service)
    await canary.add()
    with service.admin() as reader, service.admin() as writer:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT 1 FROM pg_class LIMIT 1")
        writer.execute("BEGIN")
        writer.execute("LOCK TABLE tenantry.messages IN ACCESS SHARE MODE")
        await service.acme.delete(f"/v1/documents/{canary.document_id}")
        outcomes = await _erased(service)
    assert (outcomes["chunks"], outcomes["messages"]) == ("held", "busy")
    assert canary.files()
    assert set((await _erased(service)).values()) == {"erased"}
    assert canary.files() == []


async def test_only_an_administrator_erases(service: Service, cluster: Cluster) -> None:
    url = psycopg.conninfo.make_conninfo(
        cluster.url(service.database),
        user="tenantry_operator",
        password=cluster.secrets.operator_password,
    )
    with pytest.raises(Forbidden, match="administrator"):
        list(erase(url, 1))
