"""Ours beside what is usually done: one index with a filter, and stores with many collections."""

import base64
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from bench.vectors.asking import Answer, Score, Way, ask, through
from bench.vectors.shop import DIMENSION, TOP, Shop, Vectors
from bench.venvs import python_with
from tenantry.isolation.context import TenantContext
from tenantry.vectors.base import vector_text
from tenantry.vectors.search import PROMOTE_AT, TenantVectors

TENANTS = {100: 100, 1000: 10, 10_000: 2}
"""How many of each size."""
COMERS, OF_A_COMER = 5, 1000
OTHERS = {"LanceDB": "lancedb", "Chroma": "chromadb"}
_PROCESS = Path(__file__).with_name("peer_process.py")
_NEAREST = (
    "SELECT n FROM public.shared WHERE tenant = %s ORDER BY e <=> %s::extensions.halfvec LIMIT 10"
)


@dataclass(slots=True)
class Peer:
    """A way to keep and search tenants' vectors.

    Attributes:
        ways: to search, by name; one index may be searched in several.
        add: stores a tenant's vectors under its number; the seconds it took.
        remove: deletes a tenant; the seconds it took.
        disk_bytes: what all of it takes on disk.
    """

    ways: Mapping[str, Way]
    add: Callable[[int, Vectors], float]
    remove: Callable[[int], float]
    disk_bytes: Callable[[], int]


async def peers(shop: Shop, folder: Path, questions: int) -> list[str]:
    """Tenants of three sizes in every peer, asked the same in turns; the goals missed."""
    missed: list[str] = []
    with ExitStack() as stack:
        contexts: dict[int, TenantContext] = {}
        found = {"Tenantry": _ours(shop, contexts), "one index, filtered": _shared(shop)}
        for name, package in OTHERS.items():
            if python := python_with(package):
                home = folder / package
                found[name] = stack.enter_context(_process(python, package, home))
        held = await _filled(shop, found, contexts)
        vectors = sum(size * count for size, count in TENANTS.items())
        ways = {name: way for peer in found.values() for name, way in peer.ways.items()}
        print(f"\n{sum(TENANTS.values())} tenants, {vectors:,} passages in all")
        for size in TENANTS:
            scores = await ask(ways, held[size], shop.vectors(questions))
            print(f"tenants of {size:,} passages")
            for name, score in scores.items():
                print(f"  {name:<36} {score}", flush=True)
            missed += _ahead(size, scores)
        _print_upkeep(found, shop, vectors)
    return missed


async def _filled(
    shop: Shop, found: Mapping[str, Peer], contexts: Mapping[int, TenantContext]
) -> dict[int, dict[int, Vectors]]:
    """Put the same tenants into every peer; the vectors of each, by size and number."""
    sizes = [size for size, count in TENANTS.items() for _ in range(count)]
    held: dict[int, dict[int, Vectors]] = {size: {} for size in TENANTS}
    for number, size in enumerate(sizes):
        held[size][number] = shop.vectors(size)
        for peer in found.values():
            peer.add(number, held[size][number])
        if size >= PROMOTE_AT:
            await shop.promote(contexts[number])
    # At once, as one would load what is there already; who comes later enters it row by row.
    shop.admin.execute("SET maintenance_work_mem = '512MB'")
    shop.admin.execute("CREATE INDEX ON public.shared USING hnsw (e extensions.halfvec_cosine_ops)")
    shop.analyze()
    shop.admin.execute("VACUUM (ANALYZE) public.shared")
    return held


def _ahead(size: int, scores: Mapping[str, Score]) -> list[str]:
    ours = scores["Tenantry"]
    return [
        f"at {size:,} passages {name} is ahead in recall and latency"
        for name, score in scores.items()
        if score.recall > ours.recall and score.ms < ours.ms
    ]


def _print_upkeep(found: Mapping[str, Peer], shop: Shop, vectors: int) -> None:
    print(f"to add and to remove a tenant of {OF_A_COMER:,} (median of {COMERS}); disk")
    for name, peer in found.items():
        each = peer.disk_bytes() / vectors
        comers = [10_000 + number for number in range(COMERS)]
        added = [peer.add(number, shop.vectors(OF_A_COMER)) for number in comers]
        removed = [peer.remove(number) for number in comers]
        print(
            f"  {name:<36} add {statistics.median(added) * 1000:8.1f} ms"
            f"  remove {statistics.median(removed) * 1000:8.1f} ms  {each:6.0f} bytes a vector",
            flush=True,
        )


def _ours(shop: Shop, contexts: dict[int, TenantContext]) -> Peer:
    """Ours: its passages and documents are stored too, and are not counted as vectors' bytes."""

    def add(number: int, vectors: Vectors) -> float:
        began = time.perf_counter()
        contexts[number] = shop.tenant(vectors)
        return time.perf_counter() - began

    def remove(number: int) -> float:
        began = time.perf_counter()
        tenant = contexts.pop(number).tenant
        shop.admin.execute("DELETE FROM tenantry.documents WHERE tenant_id = %s", [tenant])
        return time.perf_counter() - began

    def disk_bytes() -> int:
        return _size(
            shop.admin,
            "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class AS c"
            " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = 'tenantry'"
            " AND c.relkind = 'r' AND c.relname ~ '^chunk_(embeddings|vectors)'",
        )

    ways = {"Tenantry": through(TenantVectors(shop.world.db), contexts)}
    return Peer(ways, add, remove, disk_bytes)


def _shared(shop: Shop) -> Peer:
    """One table and one HNSW index for all, the tenant as a filter; no row-level security."""
    admin = shop.admin
    admin.execute(
        f"CREATE TABLE public.shared (tenant integer, n integer, e extensions.halfvec({DIMENSION}),"
        " PRIMARY KEY (tenant, n))"
    )
    admin.execute("SET search_path = public, extensions")

    def add(number: int, vectors: Vectors) -> float:
        shop.given(vectors)
        began = time.perf_counter()
        admin.execute("INSERT INTO public.shared SELECT %s, n, e FROM given", [number])
        return time.perf_counter() - began

    def remove(number: int) -> float:
        began = time.perf_counter()
        admin.execute("DELETE FROM public.shared WHERE tenant = %s", [number])
        return time.perf_counter() - began

    def way(mode: str) -> Way:
        async def asked(number: int, vector: Vectors) -> Answer:
            admin.execute(f"SET hnsw.iterative_scan = {mode}".encode())
            admin.execute("SET enable_sort = off")  # or small tenants never see the index
            began = time.perf_counter()
            rows = admin.execute(_NEAREST, [number, vector_text(vector)]).fetchall()
            return Answer([row[0] for row in rows], (time.perf_counter() - began) * 1000)

        return asked

    ways = {
        "one index, filtered": way("off"),
        "one index, filtered, iterative scan": way("strict_order"),
    }
    size = "SELECT pg_total_relation_size('public.shared')"
    return Peer(ways, add, remove, lambda: _size(admin, size))


@contextmanager
def _process(python: Path, package: str, home: Path) -> Iterator[Peer]:
    """A store that runs in the process that uses it: one of its own, which times itself."""
    home.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "ANONYMIZED_TELEMETRY": "False"}
    with subprocess.Popen(
        [python, _PROCESS, package, home],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True,
    ) as child:  # fmt: skip
        assert child.stdin is not None
        assert child.stdout is not None
        sent, got = child.stdin, child.stdout

        def call(do: str, number: int, vectors: Vectors | None = None) -> dict[str, Any]:
            data = "" if vectors is None else base64.b64encode(vectors.tobytes()).decode()
            sent.write(json.dumps({"do": do, "tenant": number, "vectors": data}) + "\n")
            sent.flush()
            answer: dict[str, Any] = json.loads(got.readline())
            return answer

        async def way(number: int, vector: Vectors) -> Answer:
            answer = call("ask", number, vector)
            return Answer(answer["numbers"][:TOP], answer["s"] * 1000)

        name = next(name for name, each in OTHERS.items() if each == package)
        try:
            yield Peer(
                {f"{name}, a collection a tenant": way},
                lambda number, vectors: float(call("add", number, vectors)["s"]),
                lambda number: float(call("remove", number)["s"]),
                lambda: sum(file.stat().st_size for file in home.rglob("*") if file.is_file()),
            )
        finally:
            sent.close()


def _size(admin: psycopg.Connection[Any], query: str) -> int:
    row = admin.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])
