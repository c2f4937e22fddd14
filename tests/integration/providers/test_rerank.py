"""Reranking over real HTTP: the order as scored, or as it was when the scores are not to be had."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web

from tenantry.knowledge.rerank import reordered
from tenantry.providers.rerank import HttpReranker
from tenantry.providers.upstream import HttpUpstream
from tests.integration.providers.conftest import LONG, QUICK


@dataclass(frozen=True)
class Text:
    text: str


PASSAGES = [Text("a"), Text("b"), Text("c")]


def scored(*pairs: tuple[int, Any]) -> dict[str, Any]:
    return {"results": [{"index": index, "relevance_score": score} for index, score in pairs]}


@asynccontextmanager
async def answering(
    answer: Any, status: int = 200
) -> AsyncIterator[tuple[HttpReranker, list[dict[str, Any]]]]:
    """A reranker whose provider gives this answer, and what it was asked."""
    asked: list[dict[str, Any]] = []

    async def handle(request: web.Request) -> web.Response:
        asked.append(await request.json())
        return web.Response(text=json.dumps(answer), status=status, content_type="application/json")

    application = web.Application()
    application.router.add_post("/v1/rerank", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    upstream = HttpUpstream(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", patience=LONG)
    try:
        yield HttpReranker(upstream, "double/rerank", "rerank-1", LONG, QUICK), asked
    finally:
        await upstream.close()
        await runner.cleanup()


@pytest.mark.req("VEC-3")
async def test_passages_come_in_the_order_that_was_scored() -> None:
    async with answering(scored((1, 0.9), (2, 0.5), (0, -3))) as (reranker, asked):
        found = await reordered(reranker, "which?", PASSAGES)
    assert [passage.text for passage in found] == ["b", "c", "a"]
    assert asked == [
        {"model": "rerank-1", "query": "which?", "documents": ["a", "b", "c"], "top_n": 3}
    ]


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    "answer",
    [
        scored((2, 0.9), (1, 0.5)),
        scored((2, 0.9), (1, 0.5), (3, 0.1)),
        scored((2, 0.9), (1, 0.5), (-1, 0.1)),
        scored((2, 0.9), (1, 0.5), (0, 0.1), (0, 0.99)),
        scored((2, 0.9), (1, 0.5), (0, float("nan"))),
        scored((2, 0.9), (1, 0.5), (0, "high")),
        {"results": "none"},
        [],
    ],
)
async def test_nonsense_leaves_the_order(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with answering(answer) as (reranker, _):
        assert await reordered(reranker, "which?", PASSAGES) == PASSAGES
    assert [record.message for record in caplog.records] == ["rerank_skipped"]


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize("status", [401, 404, 429, 500])
async def test_a_refusal_leaves_the_order(status: int) -> None:
    async with answering({}, status) as (reranker, _):
        assert await reordered(reranker, "which?", PASSAGES) == PASSAGES
