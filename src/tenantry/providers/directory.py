"""Which models a tenant can name, and where each name leads for it.

Threat: a tenant's call that goes out with the platform's key, or with another tenant's, because its
own key is broken, refused or gone.
Invariant: a name of the form `account/model` whose account is or was the tenant's own leads to that
account or to an error; never to the platform's.
"""

from collections.abc import Mapping

from tenantry.core.errors import NotFound
from tenantry.isolation.context import TenantContext
from tenantry.providers.base import ModelRoute, UpstreamAccount
from tenantry.providers.own.accounts import ProviderAccounts
from tenantry.providers.own.models import OpenedAccount, OwnModels
from tenantry.providers.registry import ProviderRegistry
from tenantry.providers.routes import RawRoute, chat_routes, raw_routes


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

    async def resolve(self, ctx: TenantContext, name: str) -> ModelRoute:
        """Where a model's name leads for this tenant.

        Raises:
            NotFound: no model of that name can answer here.
            AccountRemoved: the tenant's own account was removed.
            SecretUnreadable: the key of the tenant's own account does not open; recorded.
            VaultUnavailable: the keeper of the keys does not answer.
        """
        opened = await self._opened(ctx, name)
        if opened is None:
            return self.platform.resolve(name)
        for route in chat_routes(opened.account, opened.identity):
            if route.name == name:
                return route
        raise _unlisted(opened)

    async def resolve_raw(self, ctx: TenantContext, name: str) -> RawRoute:
        """Where this tenant's raw calls of a model go.

        Raises:
            NotFound: no model of that name takes raw calls.
            AccountRemoved, SecretUnreadable, VaultUnavailable: as for `resolve`.
        """
        opened = await self._opened(ctx, name)
        if opened is None:
            return self.platform.resolve_raw(name)
        for route in raw_routes(opened.account, opened.identity):
            if route.name == name:
                return route
        raise _unlisted(opened)

    async def raw_models(self, ctx: TenantContext) -> Mapping[str, UpstreamAccount]:
        """Models that take this tenant's raw calls, and the account behind each."""
        own = await self.own.of(ctx)
        found = {
            name: account
            for name, account in self.platform.raw_models().items()
            if account.name not in own.accounts
        }
        for account in own.accounts.values():
            if account.removed_at is None:
                identity, entry = account.identity(ctx.tenant), account.entry
                found |= {f"{entry.name}/{model.name}": identity for model in entry.models}
        return found

    async def _opened(self, ctx: TenantContext, name: str) -> OpenedAccount | None:
        """The tenant's own account that a name means; None when it means none."""
        account, slash, _ = name.partition("/")
        if not slash:
            return None
        own = (await self.own.of(ctx)).find(account)
        return None if own is None else await self.own.open(ctx, own)


def _unlisted(opened: OpenedAccount) -> NotFound:
    return NotFound(f"Your own account {opened.identity.name} has no such model.")
