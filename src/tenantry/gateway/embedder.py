"""A provider's model as a tenant's embedder: each call passes the gate, as any raw call does.

So it is admitted by breaker, budget and fair turn, entered into the ledger before it leaves, and
goes out with the key of whoever's account it is. Nothing stands in for the model: vectors of two
models are never compared.
"""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from tenantry.core.errors import InvalidRequest, ProviderMalformed
from tenantry.fairness.bulkheads import Lane
from tenantry.gateway.forms import EMBEDDINGS, Asked
from tenantry.gateway.passthrough import Gateway
from tenantry.gateway.request import Given
from tenantry.isolation.context import TenantContext
from tenantry.providers.openai_embeddings import unit_vectors
from tenantry.providers.routes import RawRoute
from tenantry.vectors.versions import Choice

Resolve = Callable[[TenantContext, str], Awaitable[RawRoute]]
_AT_ONCE = 32
_BYTES_A_TOKEN = 3.0
_PROBE = "How long are the vectors?"
_NO_VECTORS = "The model provider did not answer with vectors."


class _Asking:
    """Has texts embedded by a model, through the gateway."""

    def __init__(self, gateway: Gateway, resolve: Resolve) -> None:
        self._gateway = gateway
        self._resolve = resolve

    async def answer(
        self,
        ctx: TenantContext,
        model: str,
        texts: Sequence[str],
        dimension: int | None,
        lane: Lane,
    ) -> Mapping[str, Any]:
        """What the provider answers; `dimension` is asked for if given.

        Raises:
            TenantryError: as for `RoutedEmbedder.embed_query`.
        """
        fields: dict[str, object] = {
            "model": model,
            "input": list(texts),
            "encoding_format": "float",
        }
        if dimension is not None:
            fields["dimensions"] = dimension
        asked = Asked(EMBEDDINGS, Given(orjson.dumps(fields), fields))
        route = await self._resolve(ctx, model)
        answer = await self._gateway.call(ctx, route, asked, self._gateway.departure(ctx), lane)
        try:
            found = orjson.loads(answer.body) if isinstance(answer.body, bytes) else None
        except orjson.JSONDecodeError as error:
            raise ProviderMalformed(_NO_VECTORS) from error
        if not isinstance(found, dict):
            raise ProviderMalformed(_NO_VECTORS)
        return found


class RoutedEmbedder:
    """`TenantEmbedder` over the gateway."""

    is_metered = True
    """Each call is settled by itself, with the provider's own figures."""

    def __init__(self, gateway: Gateway, resolve: Resolve, choice: Choice) -> None:
        self._asking = _Asking(gateway, resolve)
        self._choice = choice

    @property
    def name(self) -> str:
        """The model, as clients write it."""
        return self._choice.embedder

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._choice.dimension

    async def embed_query(self, ctx: TenantContext, text: str) -> NDArray[np.float32]:
        """Vector of a question, shape (dimension,), of unit length.

        Raises:
            NotFound, ModelNotAllowed, AccountRemoved: the model cannot be called any more.
            BudgetExhausted, QueueFull, FairTurnDeadline: it may not be called now.
            ProviderError: the provider failed, or its answer is not vectors of this dimension.
        """
        vectors = await self._embed(ctx, [self._choice.query_prefix + (text or " ")], "interactive")
        return vectors.reshape(self.dimension)

    async def embed_passages(
        self, ctx: TenantContext, texts: Sequence[str], lane: Lane = "batch"
    ) -> NDArray[np.float32]:
        """Vectors of passages, shape (len(texts), dimension), of unit length.

        Raises:
            TenantryError: as for `embed_query`.
        """
        parts = [np.empty((0, self.dimension), dtype=np.float32)]
        for start in range(0, len(texts), _AT_ONCE):
            batch = [self._choice.passage_prefix + t for t in texts[start : start + _AT_ONCE]]
            parts.append(await self._embed(ctx, batch, lane))
        return np.concatenate(parts)

    def count_tokens(self, text: str) -> int:
        """About how many tokens `text` takes; what is billed is what the provider reports."""
        return max(1, math.ceil(len(text.encode("utf-8", "replace")) / _BYTES_A_TOKEN))

    async def _embed(
        self, ctx: TenantContext, texts: Sequence[str], lane: Lane
    ) -> NDArray[np.float32]:
        asked = self.dimension if self._choice.is_shortened else None
        answer = await self._asking.answer(ctx, self.name, texts, asked, lane)
        return unit_vectors(answer, len(texts), self.dimension)


class EmbedderTrial:
    """Finds out what vectors a model makes, by asking it once."""

    def __init__(self, gateway: Gateway, resolve: Resolve) -> None:
        self._asking = _Asking(gateway, resolve)

    async def __call__(self, ctx: TenantContext, model: str, dimension: int | None) -> Choice:
        """The choice of a model, tried out.

        Args:
            ctx: the tenant, which pays for the call.
            model: `account/model`.
            dimension: how long the vectors are to be; as the model makes them unless given.

        Raises:
            InvalidRequest: the model makes no vectors of this dimension.
            TenantryError: it cannot be called; says why.
        """
        natural = await self._length(ctx, model, None)
        if dimension is None or dimension == natural:
            return Choice(model, natural)
        if await self._length(ctx, model, dimension) != dimension:
            raise InvalidRequest(
                f"dimension: the model makes vectors of {natural} components, and not others."
            )
        return Choice(model, dimension, is_shortened=True)

    async def _length(self, ctx: TenantContext, model: str, asked: int | None) -> int:
        answer = await self._asking.answer(ctx, model, [_PROBE], asked, "interactive")
        data = answer.get("data")
        first = data[0] if isinstance(data, list) and data else None
        vector = first.get("embedding") if isinstance(first, dict) else None
        if not isinstance(vector, list):
            raise ProviderMalformed(_NO_VECTORS)
        unit_vectors(answer, 1, len(vector))
        return len(vector)
