"""Retrieval: the true nearest passages of the tenant, and never a neighbour's."""

import re
from uuid import UUID

import numpy as np
import psycopg
import pytest
from psycopg.rows import dict_row

from tenantry.core.errors import InvalidRequest
from tenantry.core.ids import new_id
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.vectors.base import Filter, vector_text
from tests.integration.knowledge.conftest import Knowledge, WordEmbedder
from tests.worlds import World

TOPICS = ("refunds", "baggage", "loyalty", "support", "delivery")
SEARCHES = load("tenantry.vectors")


async def _fill(knowledge: Knowledge) -> None:
    for ctx, days in ((knowledge.world.acme, 21), (knowledge.world.globex, 14)):
        for topic in TOPICS:
            await knowledge.add(ctx, f"{topic}.md", f"# {topic}\n\nOur {topic} rule says {days}.\n")


async def _plant(knowledge: Knowledge, ctx: TenantContext, query: str) -> UUID:
    """A document of `ctx` whose passage is the query itself, words and vector; its id."""
    document_id, embedding = new_id(), vector_text(await knowledge.embedder.embed_query(query))
    with knowledge.world.admin() as admin:
        admin.execute(
            "INSERT INTO tenantry.documents (tenant_id, document_id, title, media_type, sha256,"
            " size_bytes, chunk_count, created_by)"
            " VALUES (%s, %s, 'planted', 'text/plain', sha256(%s), 1, 1, %s)",
            [ctx.tenant, document_id, document_id.bytes, ctx.actor.id],
        )
        admin.execute(
            "INSERT INTO tenantry.chunks (tenant_id, document_id, chunk_no, content, start_offset,"
            " end_offset, terms) VALUES (%s, %s, 0, %s, 0, 1, to_tsvector('english', %s))",
            [ctx.tenant, document_id, query, query],
        )
        admin.execute(
            "INSERT INTO tenantry.chunk_embeddings VALUES (%s, %s, 1, 0, %s::extensions.halfvec)",
            [ctx.tenant, document_id, embedding],
        )
    return document_id


@pytest.mark.req("VEC-2", "VEC-3")
@pytest.mark.parametrize("limit", [1, 10_000])
async def test_a_neighbours_passage_equal_to_the_question_never_comes_back(
    knowledge: Knowledge, limit: int
) -> None:
    await _fill(knowledge)
    world, query = knowledge.world, "Our refunds rule says 14."
    planted = await _plant(knowledge, world.globex, query)
    found = await knowledge.retriever.search(world.acme, query, limit)
    assert len(found) == min(limit, len(TOPICS))
    assert all("14" not in passage.text for passage in found)
    own = await knowledge.documents.list_documents(world.acme, UUID(int=0), 100)
    assert {passage.document_id for passage in found} <= {d.document_id for d in own}
    # It is there, and the nearest of all: its own tenant finds it first.
    theirs = await knowledge.retriever.search(world.globex, query, limit)
    assert theirs[0].document_id == planted
    assert theirs[0].score == pytest.approx(1, abs=1e-3)


@pytest.mark.req("VEC-2", "MEM-3")
async def test_what_a_neighbour_stores_moves_no_rank_and_no_score(quick: Knowledge) -> None:
    await _fill(quick)
    acme, globex = quick.world.acme, quick.world.globex
    questions = ("refunds rule", "Our rule says 21", "baggage or loyalty", "nothing of it")
    before = [await quick.retriever.search(acme, question, 10) for question in questions]
    sections = (f"# Refunds {n}\n\n{'refunds baggage rule ' * 30}\n" for n in range(40))
    assert (await quick.add(globex, "more.md", "".join(sections))).chunk_count >= 40
    assert [await quick.retriever.search(acme, question, 10) for question in questions] == before


@pytest.mark.req("VEC-2")
async def test_fewer_passages_come_back_only_when_there_are_fewer(quick: Knowledge) -> None:
    await _fill(quick)
    for limit in range(1, len(TOPICS) + 3):
        found = await quick.retriever.search(quick.world.globex, "rules", limit)
        assert len(found) == min(limit, len(TOPICS))
        assert len({(p.document_id, p.chunk_no) for p in found}) == len(found)


@pytest.mark.req("VEC-2")
async def test_more_than_fifty_passages_come_back_when_asked_for(quick: Knowledge) -> None:
    acme = quick.world.acme
    text = "\n\n".join(f"Rule {n}: " + "the same words again. " * 30 for n in range(120))
    document = await quick.add(acme, "long.txt", text)
    assert document.chunk_count >= 120
    for limit in (60, 119, 10_000):
        found = await quick.retriever.search(acme, "the same words", limit)
        assert len(found) == min(limit, document.chunk_count)


@pytest.mark.req("VEC-2")
async def test_a_tenant_without_documents_finds_nothing(quick: Knowledge) -> None:
    await quick.add(quick.world.globex, "a.txt", "Something to find.")
    assert await quick.retriever.search(quick.world.acme, "Something to find.", 10) == []


@pytest.mark.req("VEC-3")
async def test_a_passage_says_where_it_stands(knowledge: Knowledge) -> None:
    text = "# Rules\n\nFirst part.\n\n## Bags\n\nBags weigh 23 kg at most.\n"
    document = await knowledge.add(knowledge.world.acme, "rules.md", text)
    best = (await knowledge.retriever.search(knowledge.world.acme, "How heavy may bags be?", 1))[0]
    assert (best.document_id, best.title) == (document.document_id, "rules.md")
    assert best.heading == "Rules > Bags"
    assert (best.page, best.chunk_no) == (1, 1)
    assert text[best.start : best.end] == best.text
    assert 0.7 < best.score <= 1.0


@pytest.mark.req("VEC-3")
async def test_words_find_what_meaning_alone_ranks_low(knowledge: Knowledge) -> None:
    acme = knowledge.world.acme
    notices = (f"# {n}\n\nNotice number {n} about the weather and the sea.\n" for n in range(30))
    await knowledge.add(acme, "notices.md", "".join(notices))
    await knowledge.add(acme, "code.txt", "Error XK-7741 means that the pump has stopped.")
    found = await knowledge.retriever.search(acme, "XK-7741", 3)
    assert "XK-7741" in found[0].text


@pytest.mark.req("VEC-3")
async def test_a_rare_word_weighs_more_than_frequent_ones(world: World) -> None:
    quick = Knowledge.over(world, WordEmbedder(dimension=1))  # all alike: only words decide
    rare = await quick.add(world.acme, "rare.txt", "The lounge has a piano.")
    common = (f"# Flight {n}\n\nCustomers ask and customers pay.\n" for n in range(20))
    await quick.add(world.acme, "common.md", "".join(common))
    found = await quick.retriever.search(world.acme, "Do customers ask about a piano?", 3)
    assert found[0].document_id == rare.document_id


@pytest.mark.req("VEC-3")
async def test_a_word_in_the_heading_is_found(world: World) -> None:
    quick = Knowledge.over(world, WordEmbedder(dimension=1))
    await quick.add(world.acme, "a.md", "# Dogs\n\nThey wait outside.\n\n# Cats\n\nThey come in.\n")
    found = await quick.retriever.search(world.acme, "cat", 1)
    assert found[0].heading == "Cats"


@pytest.mark.req("VEC-2")
async def test_the_scan_is_exact(quick: Knowledge) -> None:
    acme, rng = quick.world.acme, np.random.default_rng(7)
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota"]
    sections = (f"# {n}\n\nItem: {' '.join(rng.choice(words, size=5))}.\n" for n in range(60))
    assert (await quick.add(acme, "items.md", "".join(sections))).chunk_count == 60
    asked = await quick.embedder.embed_query("gamma delta")
    rows = quick.rows(
        "SELECT embedding::text FROM tenantry.chunk_embeddings WHERE tenant_id = %s", acme.tenant
    )
    stored = np.stack([np.array(row[0][1:-1].split(","), dtype=np.float32) for row in rows])
    best = np.sort(stored @ asked / np.linalg.norm(stored, axis=1))[::-1]
    found = await quick.retriever.search(acme, "gamma delta", 60)
    assert np.allclose(sorted((p.score for p in found), reverse=True), best, atol=2e-3)


@pytest.mark.req("COST-2")
async def test_every_search_is_metered_to_its_own_tenant(quick: Knowledge) -> None:
    await quick.retriever.search(quick.world.acme, "a question of five words", 3)
    rows = quick.rows(
        "SELECT tenant_id, kind, operation, provider, model, input_tokens"
        "  FROM tenantry.usage_events"
    )
    expected = (quick.world.acme.tenant, "recorded", "vector_search", "double", "words-1", 5)
    assert rows == [expected]


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    "query",
    [
        "", " ", "\0", "'; DROP TABLE x; --", "\ud800", "or or and", "\"'((", "!!! & | <-> :*",
        "a\\b 'c' \\' :* -7.5e3 a.b@c.de http://x/y?z='1'", "%s %(x)s %%", "x" * 100_000,
        "what is the " * 400, "日本語 の 質問",
    ],
)  # fmt: skip
async def test_any_query_is_only_a_query(quick: Knowledge, query: str) -> None:
    await quick.add(quick.world.acme, "a.txt", "Something to find.")
    assert len(await quick.retriever.search(quick.world.acme, query, 5)) == 1


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize("limit", [0, -1, 10_001])
async def test_a_limit_out_of_range_is_refused_before_anything_is_used(
    quick: Knowledge, limit: int
) -> None:
    with pytest.raises(InvalidRequest, match="1 to 10000"):
        await quick.retriever.search(quick.world.acme, "x", limit)
    assert quick.counts(quick.world.acme) == (0, 0, 0)


def _fill_neighbour(world: World, documents: int, chunks: int) -> None:
    """Thousands of the neighbour's chunks, written past every layer."""
    with world.admin() as admin:
        admin.execute(
            "INSERT INTO tenantry.documents (tenant_id, document_id, title, media_type, sha256,"
            " size_bytes, chunk_count, created_by)"
            " SELECT %s, gen_random_uuid(), 't', 'text/plain', sha256(n::text::bytea), 1, %s,"
            " gen_random_uuid() FROM generate_series(1, %s) AS n",
            [world.globex.tenant, chunks, documents],
        )
        admin.execute(
            "INSERT INTO tenantry.chunks (tenant_id, document_id, chunk_no, content, start_offset,"
            " end_offset)"
            " SELECT tenant_id, document_id, n, repeat('refunds rule ' || n, 50), 0, 1"
            " FROM tenantry.documents CROSS JOIN generate_series(1, %s) AS n WHERE tenant_id = %s",
            [chunks, world.globex.tenant],
        )
        admin.execute(
            "INSERT INTO tenantry.chunk_embeddings"
            " SELECT tenant_id, document_id, 1, chunk_no,"
            " array_fill(random()::real, ARRAY[64])::extensions.vector::extensions.halfvec"
            " FROM tenantry.chunks WHERE tenant_id = %s ON CONFLICT DO NOTHING",
            [world.globex.tenant],
        )
        admin.execute("ANALYZE tenantry.documents")
        admin.execute("ANALYZE tenantry.chunks")
        admin.execute("ANALYZE tenantry.chunk_embeddings")


async def _plan(knowledge: Knowledge, ctx: TenantContext, query: str, setting: bytes) -> str:
    """The plans of a search as it runs in a tenant's transaction, with what was read."""
    world = knowledge.world
    with world.admin() as admin:
        admin.execute("BEGIN; SET LOCAL ROLE tenantry_tenant")
        expires = int(world.clock.now().timestamp()) + 60
        token = world.cluster.signer.token(ctx, admin.info.backend_pid, expires)
        admin.execute("SELECT set_config('tenantry.context', %s, true)", [token])
        admin.execute(b"SET LOCAL search_path = pg_catalog, extensions; SET LOCAL " + setting)
        parameters = {
            "embedding": vector_text(await knowledge.embedder.embed_query(query)),
            "version": 1,
            "words": query,
            "most": 50,
            **Filter().parameters(),
        }
        plans = []
        with psycopg.ClientCursor(admin, row_factory=dict_row) as cursor:
            for name, key in (
                ("nearest_exact", "chunk_embeddings_pkey"),
                ("worded", "chunks_pkey"),
            ):
                explain = b"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) " + SEARCHES[name]
                cursor.execute(explain, parameters)
                plans.append("\n".join(row["QUERY PLAN"] for row in cursor.fetchall()))
                assert key in plans[-1]
        return "\n".join(plans)


@pytest.mark.req("VEC-2", "FAIR-1")
@pytest.mark.parametrize(
    "setting",
    # The second stands for estimates that speak against the plan we need.
    [b"enable_nestloop = on", b"enable_nestloop = off"],
)
async def test_a_search_reads_its_own_chunks_by_primary_key_however_large_the_neighbour(
    quick: Knowledge, setting: bytes
) -> None:
    await _fill(quick)
    _fill_neighbour(quick.world, documents=1500, chunks=4)
    plan = await _plan(quick, quick.world.acme, "refunds rule", setting)
    assert "Seq Scan on chunk" not in plan
    # Of the version that was named, by the key, not by a filter after it.
    conditions = [line for line in plan.splitlines() if "version" in line]
    assert conditions
    assert all("Index Cond" in line for line in conditions)
    # Of the neighbour's 6,000 chunks none was looked at and thrown away; of its documents some.
    thrown_away = [int(n) for n in re.findall(r"Rows Removed by Filter: (\d+)", plan)]
    assert sum(thrown_away) < 3 * 2000


@pytest.mark.req("VEC-2", "DB-1")
async def test_the_policy_alone_keeps_the_neighbour_out(quick: Knowledge) -> None:
    await _fill(quick)
    with quick.world.admin() as admin:
        for table in ("documents", "chunks", "chunk_embeddings"):
            admin.execute(f"ALTER TABLE tenantry.{table} DISABLE ROW LEVEL SECURITY".encode())
    found = await quick.retriever.search(quick.world.acme, "Our refunds rule says 14.", 100)
    # With the guard off the neighbour's passages are found: it was the policy that held them back.
    assert any("14" in passage.text for passage in found)
    assert len(found) == 2 * len(TOPICS)
