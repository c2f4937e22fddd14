"""Tenants with vectors: made, stored past every layer, and searched through all of them."""

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
from numpy.typing import NDArray
from tests.worlds import World

from tenantry.core.ids import TenantId, new_id
from tenantry.isolation.context import Actor, TenantContext
from tenantry.vectors.shelves import Shelves, Thresholds

DIMENSION, TOP, VERSION = 384, 10, 1
Vectors = NDArray[np.float32]
_A_DOCUMENT = 100  # passages


class Shop:
    """A database of tenants, and vectors around common centres."""

    def __init__(self, world: World, admin: psycopg.Connection[Any]) -> None:
        self.world, self.admin = world, admin
        self.rng = np.random.default_rng(3)
        self.centres = _unit(self.rng.normal(size=(200, DIMENSION)))
        admin.execute("CREATE TEMP TABLE given (n integer, e extensions.halfvec)")

    def vectors(self, count: int) -> Vectors:
        """Shape (count, 384), of unit length, each component a half-precision number."""
        near = self.centres[self.rng.integers(0, len(self.centres), count)]
        return _unit(near + self.rng.normal(scale=0.035, size=(count, DIMENSION)))

    def tenant(self, vectors: Vectors) -> TenantContext:
        """A tenant with these vectors, numbered from 0, a hundred to a document."""
        tenant = TenantId(new_id())
        self.given(vectors)
        self._store([tenant], len(vectors))
        actor = Actor("worker", new_id(), "worker")
        return self.world.mint.mint(tenant, actor, frozenset(), "bench", time.monotonic() + 7200)

    def neighbours(self, count: int, chunks: int) -> None:
        """Many tenants, each with the same few vectors."""
        self.given(self.vectors(chunks))
        # What is checked row by row costs minutes, and is not measured here.
        self.admin.execute("SET session_replication_role = replica")
        for start in range(0, count, 500):
            tenants = [TenantId(new_id()) for _ in range(min(500, count - start))]
            self._store(tenants, chunks)
        self.admin.execute("SET session_replication_role = origin")

    def analyze(self) -> None:
        """What autovacuum does when it comes by."""
        for table in ("documents", "chunks", "chunk_embeddings"):
            self.admin.execute(f"VACUUM (ANALYZE) tenantry.{table}")

    def given(self, vectors: Vectors) -> None:
        """Fill the table `given` with numbered vectors."""
        self.admin.execute("TRUNCATE given")
        with self.admin.cursor().copy("COPY given FROM STDIN (FORMAT binary)") as copy:
            copy.write(_binary(vectors))

    async def promote(self, ctx: TenantContext) -> float:
        """Give a tenant its shelf, whatever its size; the seconds it took."""
        began = time.perf_counter()
        shelves = Shelves(self.world.db, self.world.audit, Thresholds(0, 0))
        while await shelves.settle(ctx, VERSION, DIMENSION) != "ready":
            pass  # a step never waits
        return time.perf_counter() - began

    def _store(self, tenants: Sequence[UUID], chunks: int) -> None:
        self.admin.execute(
            "INSERT INTO tenantry.tenants (tenant_id, name)"
            " SELECT t, 't-' || left(md5(t::text), 20) FROM unnest(%s::uuid[]) AS t",
            [list(tenants)],
        )
        self.admin.execute(
            "INSERT INTO tenantry.documents (tenant_id, document_id, title, media_type, sha256,"
            " size_bytes, chunk_count, created_by)"
            " SELECT t, gen_random_uuid(), d::text, 'text/plain', sha256(d::text::bytea), 1,"
            " least(%s, %s - d * %s), t"
            " FROM unnest(%s::uuid[]) AS t CROSS JOIN generate_series(0, (%s - 1) / %s) AS d",
            [_A_DOCUMENT, chunks, _A_DOCUMENT, list(tenants), chunks, _A_DOCUMENT],
        )
        self.admin.execute(
            "INSERT INTO tenantry.vector_versions (tenant_id, version, embedder, is_default,"
            " dimension, state) SELECT t, %s, 'bench', true, %s, 'active'"
            " FROM unnest(%s::uuid[]) AS t",
            [VERSION, DIMENSION, list(tenants)],
        )
        for into, columns, values in (
            ("chunks", "content, start_offset, end_offset", "'passage', 0, 1"),
            ("chunk_embeddings", "version, embedding", f"{VERSION}, g.e"),
        ):
            self.admin.execute(
                f"INSERT INTO tenantry.{into} (tenant_id, document_id, chunk_no, {columns})"
                f" SELECT d.tenant_id, d.document_id, g.n, {values}"
                " FROM tenantry.documents AS d"
                f" JOIN given AS g ON g.n / {_A_DOCUMENT} = d.title::integer"
                " WHERE d.tenant_id = ANY (%s::uuid[])",
                [list(tenants)],
            )


def _unit(raw: NDArray[np.float64]) -> Vectors:
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    halves: Vectors = unit.astype(np.float16).astype(np.float32)
    return halves


def _binary(vectors: Vectors) -> bytes:
    """Numbered vectors as PostgreSQL's binary COPY takes them."""
    row = np.dtype(
        [("fields", ">i2"), ("l1", ">i4"), ("n", ">i4"), ("l2", ">i4"), ("dim", ">i2"),
         ("unused", ">i2"), ("values", ">f2", (DIMENSION,))]
    )  # fmt: skip
    rows = np.zeros(len(vectors), dtype=row)
    rows["fields"], rows["l1"], rows["n"] = 2, 4, np.arange(len(vectors))
    rows["l2"], rows["dim"], rows["values"] = 4 + 2 * DIMENSION, DIMENSION, vectors
    return b"PGCOPY\n\xff\r\n\0" + bytes(8) + rows.tobytes() + b"\xff\xff"
