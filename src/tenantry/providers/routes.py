"""Where calls go: what leads from a model's name to an account and its door."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tenantry.core.errors import InvalidRequest
from tenantry.providers.accounts import Account
from tenantry.providers.base import ModelRoute, UpstreamAccount
from tenantry.providers.calls import Retry
from tenantry.providers.openai_compatible import MaxTokensField
from tenantry.providers.surfaces import PATHS, Door, Surface


@dataclass(frozen=True, slots=True)
class RawRoute:
    """Where a raw model's calls go: bytes in, bytes out.

    Attributes:
        name: what clients write, `account/model`.
        provider: price book key of the provider.
        upstream_model: the provider's own name of the model.
        doors: the APIs that it can be asked by, and where each leads.
        account: whose key the calls go out with.
        max_output_tokens: the most the model may produce in one call.
        limit_field: what this provider calls the output bound.
        retry: how often a call that the provider failed is tried.
        fallbacks: where the call goes, in order, when this route cannot answer just now and has
            sent nothing; each is a call of its own.
    """

    name: str
    provider: str
    upstream_model: str
    doors: Mapping[Surface, Door] = field(repr=False)
    account: UpstreamAccount
    max_output_tokens: int
    limit_field: MaxTokensField = "max_completion_tokens"
    retry: Retry = field(default_factory=Retry)
    fallbacks: tuple["RawRoute", ...] = ()

    def door(self, surface: Surface) -> Door:
        """Where calls of one API go.

        Raises:
            InvalidRequest: the model's account does not speak it, and there is no bridge.
        """
        if surface not in self.doors:
            known = ", ".join(PATHS[each] for each in self.doors)
            raise InvalidRequest(f"This model is not asked by {PATHS[surface]} here, but {known}.")
        return self.doors[surface]


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
            account.doors[model.name],
            identity,
            model.max_output_tokens,
            entry.max_tokens_field,
            retry=account.retry,
        )
        for model in entry.models
    ]
