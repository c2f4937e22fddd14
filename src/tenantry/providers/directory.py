"""Which models a tenant can name, and where each name leads for it.

Threat: a tenant's call that goes out with the platform's key, or with another tenant's, because its
own key is broken, refused or gone.
Invariant: a name of the form `account/model` whose account is or was the tenant's own leads to that
account or to an error; to the platform's only where the tenant's policy names that as a fallback.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from tenantry.core.errors import (
    AccountRemoved,
    ModelNotAllowed,
    NotFound,
    SecretUnreadable,
    VaultUnavailable,
)
from tenantry.isolation.context import TenantContext
from tenantry.providers.accounts import Account
from tenantry.providers.base import ModelRoute, UpstreamAccount
from tenantry.providers.own.accounts import ProviderAccounts
from tenantry.providers.own.models import OwnModels, TenantModels
from tenantry.providers.own.policy import PLATFORMS, ModelPolicy
from tenantry.providers.registry import ProviderRegistry
from tenantry.providers.routes import RawRoute, chat_routes, raw_routes

R = TypeVar("R", ModelRoute, RawRoute)


@dataclass(frozen=True, slots=True)
class _Way(Generic[R]):
    """How names lead to routes of one kind: in an own account, and at the platform's."""

    own: Callable[[Account, UpstreamAccount], list[R]]
    platform: Callable[[str], R]


class ModelDirectory:
    """Resolves names for one tenant at a time.

    Attributes:
        platform: the platform's accounts, which every tenant may use.
        own: what tenants bring of their own, as it is called.
        accounts: the same, as it is kept.
    """

    def __init__(
        self, platform: ProviderRegistry, own: OwnModels, accounts: ProviderAccounts
    ) -> None:
        self.platform = platform
        self.own = own
        self.accounts = accounts
        self._chat = _Way(chat_routes, platform.resolve)
        self._raw = _Way(raw_routes, platform.resolve_raw)

    async def resolve(self, ctx: TenantContext, name: str) -> ModelRoute:
        """Where a model's name leads for this tenant, with what may follow.

        Raises:
            ModelNotAllowed: the tenant's policy does not allow it.
            NotFound: no model of that name can answer here.
            AccountRemoved: the tenant's own account was removed.
            SecretUnreadable: the key of the tenant's own account does not open; recorded.
            VaultUnavailable: the keeper of the keys does not answer.
        """
        return await self._resolve(ctx, name, self._chat)

    async def resolve_raw(self, ctx: TenantContext, name: str) -> RawRoute:
        """Where this tenant's raw calls of a model go, with what may follow.

        Raises:
            ModelNotAllowed, AccountRemoved, SecretUnreadable, VaultUnavailable: as for `resolve`.
            NotFound: no model of that name takes raw calls.
        """
        return await self._resolve(ctx, name, self._raw)

    async def resolve_alone(self, ctx: TenantContext, name: str) -> RawRoute:
        """Where this tenant's raw calls of a model go, with nothing that its policy lets follow.

        For embeddings that are compared with others of the same model.

        Raises:
            ModelNotAllowed, AccountRemoved, SecretUnreadable, VaultUnavailable, NotFound: as for
                `resolve_raw`.
        """
        mine = await self.own.of(ctx)
        if not mine.policy.allows(name):
            raise ModelNotAllowed(f"This organisation does not allow the model {name[:100]}.")
        return await self._named(ctx, mine, name, self._raw)

    async def meant(self, ctx: TenantContext, name: str) -> ModelRoute:
        """Where a model that answers leads, as a fallback is written; whatever is allowed.

        Raises:
            NotFound: no model of that name can answer here.
            AccountRemoved, SecretUnreadable, VaultUnavailable: as for `resolve`.
        """
        return await self._meant(ctx, await self.own.of(ctx), name, self._chat)

    async def raw_models(
        self, ctx: TenantContext, policy: ModelPolicy | None = None
    ) -> Mapping[str, bool]:
        """Models that take this tenant's raw calls, and whether each is of its own account.

        Args:
            ctx: the caller.
            policy: what is allowed; the tenant's own policy unless given.
        """
        mine = await self.own.of(ctx)
        found = {
            name: False
            for name in self.platform.raw_names()
            if name.partition("/")[0] not in mine.accounts
        }
        for account in mine.accounts.values():
            if account.removed_at is None:
                entry = account.entry
                found |= {f"{entry.name}/{model.name}": True for model in entry.models}
        allows = (policy or mine.policy).allows
        return {name: is_own for name, is_own in found.items() if allows(name)}

    async def _resolve(self, ctx: TenantContext, name: str, way: _Way[R]) -> R:
        mine = await self.own.of(ctx)
        if not mine.policy.allows(name):
            raise ModelNotAllowed(f"This organisation does not allow the model {name[:100]}.")
        route = await self._named(ctx, mine, name, way)
        others = mine.policy.fallbacks.get(name, ())
        if not others:
            return route
        following = list(route.fallbacks)
        for other in others:
            for spare in await self._spare(ctx, mine, other, way):
                if _may_stand_in(other, spare.account, route.account):
                    following.append(spare)
        return replace(route, fallbacks=tuple(following))

    async def _spare(
        self, ctx: TenantContext, mine: TenantModels, name: str, way: _Way[R]
    ) -> list[R]:
        """A fallback, with its own; none where it is not there, and so cannot stand in."""
        if not mine.policy.allows(name.removeprefix(PLATFORMS)):
            return []
        try:
            spare: R = await self._meant(ctx, mine, name, way)
        except (NotFound, AccountRemoved, SecretUnreadable, VaultUnavailable):
            return []
        return [replace(spare, fallbacks=()), *spare.fallbacks]

    async def _meant(self, ctx: TenantContext, mine: TenantModels, name: str, way: _Way[R]) -> R:
        if name.startswith(PLATFORMS):
            return way.platform(name.removeprefix(PLATFORMS))
        return await self._named(ctx, mine, name, way)

    async def _named(self, ctx: TenantContext, mine: TenantModels, name: str, way: _Way[R]) -> R:
        account, slash, _ = name.partition("/")
        own = mine.find(account) if slash else None
        if own is None:
            return way.platform(name)
        opened = await self.own.open(ctx, own)
        for route in way.own(opened.account, opened.identity):
            if route.name == name:
                return route
        raise NotFound(f"Your own account {own.entry.name} has no such model.")


def _may_stand_in(name: str, spare: UpstreamAccount, first: UpstreamAccount) -> bool:
    """Whether a fallback may follow: the platform's key an own one only where it says so."""
    return spare.owner is not None or first.owner is None or name.startswith(PLATFORMS)
