"""Embeddings over real HTTP: vectors of the right model, number, length and direction, or none."""

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from tenantry.core.errors import ProviderMalformed, ProviderRejected, ProviderUnavailable
from tenantry.providers.openai_embeddings import EmbeddingModel, OpenAICompatibleEmbedder
from tenantry.providers.upstream import HttpUpstream
from tests.integration.providers.conftest import LONG, QUICK
from tests.providers.forms import vector_of
from tests.providers.replies import Reply, refusing
from tests.providers.scripted import ScriptedProvider

MODEL = EmbeddingModel("scripted/embed", "embed-1", 8, "query: ", "passage: ", batch=3)


@pytest.fixture
async def embedder(provider: ScriptedProvider) -> AsyncIterator[OpenAICompatibleEmbedder]:
    upstream = HttpUpstream(provider.url + "/v1", patience=LONG)
    yield OpenAICompatibleEmbedder(upstream, MODEL, LONG, QUICK)
    await upstream.close()


async def answering(answer: Any) -> tuple[web.AppRunner, OpenAICompatibleEmbedder, HttpUpstream]:
    """An embedder whose provider gives this answer, whatever is asked."""

    async def handle(_: web.Request) -> web.Response:
        return web.json_response(answer)

    application = web.Application()
    application.router.add_post("/embeddings", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    upstream = HttpUpstream(f"http://127.0.0.1:{runner.addresses[0][1]}", patience=LONG)
    return runner, OpenAICompatibleEmbedder(upstream, MODEL, LONG, QUICK), upstream


@pytest.mark.req("VEC-3")
async def test_questions_and_passages_get_their_prefixes_and_unit_vectors(
    embedder: OpenAICompatibleEmbedder, provider: ScriptedProvider
) -> None:
    question = await embedder.embed_query("what?")
    passages = await embedder.embed_passages(["one", "two"])
    assert (question.shape, passages.shape) == ((8,), (2, 8))
    assert passages.dtype == np.float32
    assert np.allclose(question, vector_of("query: what?", 8), atol=1e-6)
    assert np.allclose(passages[1], vector_of("passage: two", 8), atol=1e-6)
    assert np.allclose(np.linalg.norm(passages, axis=1), 1)
    assert provider.calls[0].body["model"] == "embed-1"
    assert provider.calls[0].body["encoding_format"] == "float"
    assert (embedder.name, embedder.dimension) == ("scripted/embed", 8)


async def test_many_passages_go_in_batches_and_come_back_in_order(
    embedder: OpenAICompatibleEmbedder, provider: ScriptedProvider
) -> None:
    texts = [f"passage {n}" for n in range(8)]
    vectors = await embedder.embed_passages(texts)
    assert [len(call.body["input"]) for call in provider.calls] == [3, 3, 2]
    expected = np.stack([vector_of(f"passage: {text}", 8) for text in texts])
    assert np.allclose(vectors, expected, atol=1e-6)


async def test_no_passages_are_no_call(
    embedder: OpenAICompatibleEmbedder, provider: ScriptedProvider
) -> None:
    assert (await embedder.embed_passages([])).shape == (0, 8)
    assert provider.calls == []


async def test_a_provider_that_recovers_is_tried_again(
    embedder: OpenAICompatibleEmbedder, provider: ScriptedProvider
) -> None:
    provider.queue(refusing(429), refusing(503))
    assert (await embedder.embed_query("x")).shape == (8,)
    assert len(provider.calls) == 3


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (refusing(400), ProviderRejected),
        (refusing(500), ProviderUnavailable),
        (Reply(fault="garbage"), ProviderMalformed),
        (Reply(fault="wrong_shape"), ProviderMalformed),
        (Reply(fault="html"), ProviderMalformed),
        (Reply(fault="hang_up"), ProviderUnavailable),
    ],
)
async def test_a_broken_answer_is_an_error(
    embedder: OpenAICompatibleEmbedder,
    provider: ScriptedProvider,
    reply: Reply,
    error: type[Exception],
) -> None:
    provider.answer = reply
    with pytest.raises(error):
        await embedder.embed_query("x")


GOOD = [1.0] + [0.0] * 7


@pytest.mark.req("VEC-2")
@pytest.mark.parametrize(
    "data",
    [
        [],
        [{"index": 0, "embedding": GOOD}] * 2,
        [{"index": 1, "embedding": GOOD}],
        [{"index": "0", "embedding": GOOD}],
        [{"index": 0, "embedding": GOOD[:7]}],
        [{"index": 0, "embedding": [*GOOD, 0.0]}],
        [{"index": 0, "embedding": [0.0] * 8}],
        [{"index": 0, "embedding": [1e400, *GOOD[1:]]}],
        [{"index": 0, "embedding": [1e39, *GOOD[1:]]}],
        [{"index": 0, "embedding": ["1", *GOOD[1:]]}],
        [{"index": 0, "embedding": [None, *GOOD[1:]]}],
        [{"index": 0, "embedding": "AAAA"}],
        [{"index": 0}],
        [7],
        "data",
        None,
    ],
)
async def test_vectors_that_cannot_be_compared_are_malformed(data: Any) -> None:
    runner, embedder, upstream = await answering({"data": data})
    with pytest.raises(ProviderMalformed):
        await embedder.embed_query("x")
    await upstream.close()
    await runner.cleanup()


async def test_a_missing_vector_among_several_is_malformed() -> None:
    same = {"index": 0, "embedding": GOOD}
    runner, embedder, upstream = await answering({"data": [same, same]})
    with pytest.raises(ProviderMalformed):
        await embedder.embed_passages(["one", "two"])
    await upstream.close()
    await runner.cleanup()


async def test_vectors_are_put_where_their_index_says() -> None:
    two = [0.0, 3.0] + [0.0] * 6
    data = [{"index": 1, "embedding": two}, {"index": 0, "embedding": GOOD}]
    runner, embedder, upstream = await answering({"data": data})
    vectors = await embedder.embed_passages(["one", "two"])
    assert vectors[0][0] == 1
    assert vectors[1][1] == 1
    await upstream.close()
    await runner.cleanup()


@pytest.mark.parametrize(("text", "tokens"), [("", 1), ("abc", 1), ("abcd", 2), ("äöü", 2)])
def test_tokens_are_estimated_from_bytes(text: str, tokens: int) -> None:
    upstream = HttpUpstream("http://127.0.0.1:1")
    assert OpenAICompatibleEmbedder(upstream, MODEL).count_tokens(text) == tokens
