"""`POST /v1/embeddings`: the platform's own embedder, or a provider's model by its raw name."""

import asyncio
import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.types import Send

from tenantry.api.credentials import authenticate
from tenantry.api.raw import is_raw, model_in, pass_on, refuse_key
from tenantry.api.reading import read_object
from tenantry.api.streaming import send_json, while_connected
from tenantry.core.errors import InvalidRequest, NotFound
from tenantry.gateway.forms import EMBEDDINGS, Asked
from tenantry.isolation.context import TenantContext
from tenantry.platform import Platform

EMBEDDED_MODEL = "embedded"
"""Name under which the platform's own embedder is served."""
_MOST_TEXTS = 256
_LONGEST_TEXT = 32_000


async def embeddings(platform: Platform, request: Request, send: Send) -> None:
    """Answer an embeddings request."""
    ctx = await authenticate(platform, request, "embeddings")
    given = await read_object(platform, request, ctx)
    model = model_in(given)
    if is_raw(model):
        await pass_on(platform, ctx, request, Asked(EMBEDDINGS, given), send)
    elif model == EMBEDDED_MODEL:
        refuse_key(request)
        await while_connected(request.receive, _own(platform, ctx, given.fields, send))
    else:
        raise NotFound("There is no such embedding model here.")


async def _own(platform: Platform, ctx: TenantContext, body: Mapping[str, Any], send: Send) -> None:
    texts = _texts(body.get("input"))
    embedder = platform.passages
    vectors = await embedder.embed_passages(ctx, texts, "interactive")
    tokens = await asyncio.to_thread(sum, map(embedder.count_tokens, texts))
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
