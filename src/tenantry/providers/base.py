"""The protocols a model or embedder implements, and the values that pass through them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tenantry.core.events import Json
from tenantry.core.ids import TenantId
from tenantry.fairness.bulkheads import Lane
from tenantry.isolation.context import TenantContext
from tenantry.metering.usage import Payer, TokenUsage

MessageRole = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the model asks for. `arguments` is the raw JSON text: it is untrusted."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message as a model sees it.

    Attributes:
        role: who speaks.
        content: the text; empty for an assistant message that only calls tools.
        tool_calls: calls the assistant asked for.
        tool_call_id: for role `tool`, the call this answers.
    """

    role: MessageRole
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as shown to a model: JSON Schema (2020-12) of its arguments, closed."""

    name: str
    description: str
    parameters: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One model call.

    Attributes:
        model: the provider's own name of the model.
        messages: the prompt, in order.
        tools: tools the model may call.
        max_output_tokens: always sent to the provider: it bounds the cost of the call.
        temperature: 0 to 2, or None for the provider's default.
        call_id: our id of the call, sent along where a provider takes one, so that its own export
            can be reconciled with the ledger.
    """

    model: str
    messages: Sequence[Message]
    tools: Sequence[ToolSpec] = ()
    max_output_tokens: int = 1024
    temperature: float | None = None
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The last chunk of a call.

    Attributes:
        reason: why the model stopped.
        tool_calls: complete calls, assembled.
        usage: tokens as the provider reported them; None when it gave no figures.
    """

    reason: FinishReason
    tool_calls: tuple[ToolCall, ...] = ()
    usage: TokenUsage | None = None


Chunk = TextDelta | Finished


class ChatModel(Protocol):
    """A model that answers. Implementations hold no state of any call once it ends."""

    def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        """Text deltas in order, then exactly one `Finished`.

        Closing the iterator cancels the call upstream.

        Raises:
            ProviderUnavailable: no connection, or HTTP 5xx or 429 before the first chunk.
            ProviderTimeout: no first chunk, or no next chunk, within the timeouts.
            ProviderRejected: the provider refused the request (HTTP 4xx).
            ProviderMalformed: the stream is not what the protocol says, or ends early.
        """
        ...


class Embedder(Protocol):
    """Turns text into vectors whose dot product is their similarity (unit length)."""

    @property
    def name(self) -> str:
        """Identifies model and version; vectors of different names are never compared."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    async def embed_query(self, text: str) -> NDArray[np.float32]:
        """Vector of a question, shape (dimension,)."""
        ...

    async def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of passages, shape (len(texts), dimension)."""
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens that embedding `text` takes, as the model counts them."""
        ...


class TenantEmbedder(Protocol):
    """An embedder as it is called for tenants: in turns, and paid for."""

    @property
    def name(self) -> str:
        """Identifies model and version, as `Embedder.name` does."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    @property
    def is_metered(self) -> bool:
        """Whether each call is entered into the ledger as it is made, and not by the caller."""
        ...

    async def embed_query(self, ctx: TenantContext, text: str) -> NDArray[np.float32]:
        """Vector of a question, shape (dimension,)."""
        ...

    async def embed_passages(
        self, ctx: TenantContext, texts: Sequence[str], lane: Lane = "batch"
    ) -> NDArray[np.float32]:
        """Vectors of passages, shape (len(texts), dimension)."""
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens that embedding `text` takes, as the model counts them."""
        ...


@dataclass(frozen=True, slots=True)
class UpstreamAccount:
    """Whose key a call goes out with. Equal for equal keys only, so it can key a breaker or a pool.

    Attributes:
        name: the account's name, of the providers file or of the tenant.
        owner: the tenant whose own account it is; None for the platform's.
        version: of the credential, larger than that of any earlier one of this name; 0 for the
            platform's, whose keys change with a restart.
    """

    name: str
    owner: TenantId | None = None
    version: int = 0

    @property
    def payer(self) -> Payer:
        """Who is billed by the provider."""
        return "platform" if self.owner is None else "tenant"


@dataclass(frozen=True, slots=True)
class ModelRoute:
    """Where a model's name leads.

    Attributes:
        name: what clients write, such as `openai/gpt-5-mini` or `keyless`.
        provider: price book key of the provider.
        upstream: the provider's own name of the model.
        model: the implementation to call.
        account: whose key it is called with.
        max_output_tokens: the most the model can produce in one call.
        fallbacks: where the call goes, in order, when this route cannot answer just now and has
            sent nothing; each is a call of its own.
    """

    name: str
    provider: str
    upstream: str
    model: ChatModel = field(repr=False)
    account: UpstreamAccount
    max_output_tokens: int = 4096
    fallbacks: tuple["ModelRoute", ...] = ()
