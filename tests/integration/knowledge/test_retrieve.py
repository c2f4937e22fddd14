"""Retrieval: the true nearest passages of the tenant, and never a neighbour's."""

import numpy as np
import pytest

from tests.integration.knowledge.conftest import Knowledge

TOPICS = ("refunds", "baggage", "loyalty", "support", "delivery")


async def _fill(knowledge: Knowledge) -> None:
    for ctx, days in ((knowledge.world.acme, 21), (knowledge.world.globex, 14)):
        for topic in TOPICS:
            await knowledge.add(ctx, f"{topic}.md", f"# {topic}\n\nOur {topic} rule says {days}.\n")


@pytest.mark.req("VEC-2", "VEC-3")
async def test_identical_words_of_a_neighbour_never_come_back(knowledge: Knowledge) -> None:
    await _fill(knowledge)
    world = knowledge.world
    for limit in (1, 10_000):
        # The neighbour's own sentence, word for word: its passage would be the nearest of all.
        found = await knowledge.retriever.search(world.acme, "Our refunds rule says 14.", limit)
        assert found
        assert all("14" not in passage.text for passage in found)
    assert len(await knowledge.retriever.search(world.acme, "anything", 10_000)) == len(TOPICS)


@pytest.mark.req("VEC-2")
async def test_fewer_passages_come_back_only_when_there_are_fewer(knowledge: Knowledge) -> None:
    await _fill(knowledge)
    for limit in range(1, len(TOPICS) + 3):
        found = await knowledge.retriever.search(knowledge.world.globex, "rules", limit)
        assert len(found) == min(limit, len(TOPICS))


@pytest.mark.req("VEC-3")
async def test_a_passage_says_where_it_stands(knowledge: Knowledge) -> None:
    text = "# Rules\n\nFirst part.\n\n## Bags\n\nBags weigh 23 kg at most.\n"
    document = await knowledge.add(knowledge.world.acme, "rules.md", text)
    best = (await knowledge.retriever.search(knowledge.world.acme, "How heavy may bags be?", 1))[0]
    assert (best.document_id, best.title) == (document.document_id, "rules.md")
    assert best.heading == "Rules > Bags"
    assert text[best.start : best.end] == best.text
    assert 0.7 < best.score <= 1.0


@pytest.mark.req("VEC-3")
async def test_words_find_what_meaning_alone_ranks_low(knowledge: Knowledge) -> None:
    acme = knowledge.world.acme
    for n in range(30):
        await knowledge.add(acme, f"{n}.txt", f"Notice number {n} about the weather and the sea.")
    await knowledge.add(acme, "code.txt", "Error XK-7741 means that the pump has stopped.")
    found = await knowledge.retriever.search(acme, "XK-7741", 3)
    assert "XK-7741" in found[0].text


@pytest.mark.req("VEC-2")
async def test_the_scan_is_exact(knowledge: Knowledge) -> None:
    acme = knowledge.world.acme
    for n in range(40):
        await knowledge.add(acme, f"{n}.txt", f"Item {n}: {'alpha beta gamma delta'[n % 20 :]}.")
    query = "gamma delta"
    embedder = knowledge.retriever._embedder
    asked = await embedder.embed_query(query)
    with knowledge.world.admin() as admin:
        rows = admin.execute(
            "SELECT c.content, c.embedding::text FROM tenantry.chunks AS c WHERE tenant_id = %s",
            [acme.tenant],
        ).fetchall()
    scores = {r[0]: float(np.array(r[1][1:-1].split(","), dtype=np.float32) @ asked) for r in rows}
    best = sorted(scores.values(), reverse=True)
    found = await knowledge.retriever.search(acme, query, 40)
    nearest = sorted((p.score for p in found), reverse=True)
    assert np.allclose(nearest, best, atol=2e-3)


@pytest.mark.req("COST-2")
async def test_every_search_is_metered_to_its_own_tenant(knowledge: Knowledge) -> None:
    await knowledge.retriever.search(knowledge.world.acme, "a question", 3)
    with knowledge.world.admin() as admin:
        rows = admin.execute(
            "SELECT tenant_id, operation, input_tokens > 0 FROM tenantry.usage_events"
        ).fetchall()
    assert rows == [(knowledge.world.acme.tenant, "vector_search", True)]


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize("query", ["", "\0", "'; DROP TABLE x; --", "\ud800", "or or and", "\"'(("])
async def test_any_query_is_only_a_query(knowledge: Knowledge, query: str) -> None:
    await knowledge.add(knowledge.world.acme, "a.txt", "Something to find.")
    assert len(await knowledge.retriever.search(knowledge.world.acme, query, 5)) == 1
