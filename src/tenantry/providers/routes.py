"""Where calls go: what leads from a model's name to an account and its door."""

from dataclasses import dataclass, field

from tenantry.providers.accounts import Account
from tenantry.providers.base import ModelRoute, UpstreamAccount
from tenantry.providers.calls import Retry
from tenantry.providers.openai_compatible import CHAT_PATH, MaxTokensField
from tenantry.providers.openai_embeddings import EMBEDDINGS_PATH
from tenantry.providers.upstream import Upstream


@dataclass(frozen=True, slots=True)
class RawRoute:
    """Where a raw model's calls go: bytes in, bytes out, in OpenAI's form.

    Attributes:
        name: what clients write, `account/model`.
        provider: price book key of the provider.
        upstream_model: the provider's own name of the model.
        upstream: the account's door.
        account: whose key the calls go out with.
        max_output_tokens: the most the model may produce in one call.
        limit_field: what this provider calls the output bound.
        chat_path: of chat completions, below the account's base URL.
        embeddings_path: of embeddings.
        retry: how often a call that the provider failed is tried.
        fallbacks: where the call goes, in order, when this route cannot answer just now and has
            sent nothing; each is a call of its own.
    """

    name: str
    provider: str
    upstream_model: str
    upstream: Upstream = field(repr=False)
    account: UpstreamAccount
    max_output_tokens: int
    limit_field: MaxTokensField = "max_completion_tokens"
    chat_path: str = CHAT_PATH
    embeddings_path: str = EMBEDDINGS_PATH
    retry: Retry = field(default_factory=Retry)
    fallbacks: tuple["RawRoute", ...] = ()


def chat_routes(account: Account, identity: UpstreamAccount) -> list[ModelRoute]:
    """A route to each model of an account that answers."""
    entry = account.entry
    return [
        ModelRoute(
            f"{entry.name}/{model.name}",
            entry.price_key,
            model.upstream_name,
            account.models[model.name],
            identity,
            model.max_output_tokens,
        )
        for model in entry.models
        if model.kind == "chat"
    ]


def raw_routes(account: Account, identity: UpstreamAccount) -> list[RawRoute]:
    """A route to each model of an account that takes raw calls."""
    entry = account.entry
    return [
        RawRoute(
            f"{entry.name}/{model.name}",
            entry.price_key,
            model.upstream_name,
            account.raw[model.name],
            identity,
            model.max_output_tokens,
            entry.max_tokens_field,
            retry=account.retry,
        )
        for model in entry.models
    ]
