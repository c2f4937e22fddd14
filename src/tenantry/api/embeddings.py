"""`POST /v1/embeddings`: the platform's own embedder, or a provider's model by its raw name."""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.types import Send

from tenantry.api.credentials import authenticate
from tenantry.api.reading import read_object
from tenantry.api.streaming import send_chunks, send_json, while_connected
from tenantry.core.errors import InvalidRequest, NotFound
from tenantry.gateway.request import embeddings_request
from tenantry.isolation.context import TenantContext
from tenantry.platform import Platform

EMBEDDED_MODEL = "embedded"
"""Name under which the platform's own embedder is served."""
_MOST_TEXTS = 256
_LONGEST_TEXT = 32_000


async def embeddings(platform: Platform, request: Request, send: Send) -> None:
    """Answer an embeddings request."""
    ctx = await authenticate(platform, request, "embeddings")
    body = await read_object(platform, request, ctx)
    model = body.get("model")
    if model == EMBEDDED_MODEL:
        work = _own(platform, ctx, body, send)
    elif isinstance(model, str) and "/" in model:
        work = _raw(platform, ctx, body, send)
    else:
        raise NotFound("There is no such embedding model here.")
    await while_connected(request.receive, work)


async def _raw(platform: Platform, ctx: TenantContext, body: Mapping[str, Any], send: Send) -> None:
    route = await platform.providers.resolve_raw(ctx, body["model"])
    prepared = embeddings_request(body, route.upstream_model)
    answer = await platform.gateway.call(ctx, route, prepared, "embedding")
    await send_chunks(send, answer.media_type, answer.chunks)


async def _own(platform: Platform, ctx: TenantContext, body: Mapping[str, Any], send: Send) -> None:
    texts = _texts(body.get("input"))
    embedder = platform.embedder
    vectors = await embedder.embed_passages(texts)
    tokens = sum(embedder.count_tokens(text) for text in texts)
    async with platform.db.tenant(ctx) as tx:
        await platform.ledger.record_embedding(tx, embedder.name, tokens)
    as_text = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(vector, as_text)}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    answer = {"object": "list", "model": EMBEDDED_MODEL, "data": data, "usage": usage}
    await send_json(send, 200, answer)


def _texts(given: object) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not 1 <= len(texts) <= _MOST_TEXTS:
        raise InvalidRequest(f"input: a text or a list of 1 to {_MOST_TEXTS} texts is needed.")
    for text in texts:
        if not isinstance(text, str) or not 1 <= len(text) <= _LONGEST_TEXT:
            raise InvalidRequest(f"input: every text has 1 to {_LONGEST_TEXT} characters.")
    return texts


def _vector(vector: "np.ndarray[Any, np.dtype[np.float32]]", as_text: bool) -> str | list[float]:
    if as_text:
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(value) for value in vector]
