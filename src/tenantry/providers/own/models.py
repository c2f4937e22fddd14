"""What a tenant has of its own, as remembered for seconds: a call costs no look-up.

It is remembered as credentials are (`security.standing`): only while notices are heard, dropped at
every change of the tenant's, and together with it the clients that hold its keys.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from tenantry.core.clock import Clock
from tenantry.core.errors import AccountRemoved, NotFound
from tenantry.core.ids import TenantId
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.notices import Listener
from tenantry.isolation.transaction import Database
from tenantry.providers.accounts import Account, account_over
from tenantry.providers.base import UpstreamAccount
from tenantry.providers.own.accounts import MOST_ACCOUNTS
from tenantry.providers.own.clients import OwnClients
from tenantry.providers.own.policy import ModelPolicy
from tenantry.providers.own.records import OwnAccount
from tenantry.security.cursors import START
from tenantry.security.standing import Standing

_SQL = load("tenantry.providers.own")


@dataclass(frozen=True, slots=True)
class TenantModels:
    """What one tenant has of its own.

    Attributes:
        accounts: by name, the removed whose names are held included.
        policy: what it allows itself.
    """

    accounts: Mapping[str, OwnAccount]
    policy: ModelPolicy

    def find(self, name: str) -> OwnAccount | None:
        """The account of a name, if the name is the tenant's own.

        Raises:
            AccountRemoved: it was the tenant's own, and has not been released.
        """
        account = self.accounts.get(name)
        if account is not None and account.removed_at is not None:
            raise AccountRemoved(
                f"Your own account {name} was removed, and its name is still held. Add an account "
                "of this name, or release the name to use the platform's."
            )
        return account


@dataclass(frozen=True, slots=True)
class OpenedAccount:
    """An account opened for one caller, and whose it is."""

    account: Account
    identity: UpstreamAccount


class OwnModels:
    """Tells what tenants have of their own, and opens it."""

    def __init__(
        self, db: Database, clients: OwnClients, clock: Clock, is_live: Callable[[], bool]
    ) -> None:
        self._db = db
        self._clients = clients
        self._known = Standing(clock, is_live)

    async def of(self, ctx: TenantContext) -> TenantModels:
        """What the caller's tenant has of its own.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        known = self._known.find(ctx.tenant)
        if known is not None:
            found: TenantModels = known["models"]
            return found
        moment = self._known.moment
        async with self._db.tenant(ctx) as tx:
            rows = await tx.rows(_SQL["list_accounts"], after=START, limit=MOST_ACCOUNTS)
            policy = ModelPolicy.of_row(await tx.row(_SQL["get_policy"]))
        accounts = [OwnAccount.of_row(row) for row in rows]
        models = TenantModels({account.entry.name: account for account in accounts}, policy)
        self._known.remember(ctx.tenant, ctx.tenant, {"models": models}, moment)
        return models

    async def open(self, ctx: TenantContext, account: OwnAccount) -> OpenedAccount:
        """An account of the caller's tenant, to be called under the caller's name.

        Raises:
            AccountRemoved: its key is there no more.
            SecretUnreadable: the key does not open; recorded.
            VaultUnavailable: the keeper of the keys does not answer.
        """
        try:
            client = await self._clients.client(ctx, account)
        except NotFound:
            # What was remembered is older than the last change: the next call looks again.
            self.changed(ctx.tenant)
            raise AccountRemoved from None
        over = account_over(account.entry, client.asked_by(ctx))
        return OpenedAccount(over, account.identity(ctx.tenant))

    def changed(self, tenant: TenantId) -> None:
        """Drop what is remembered of a tenant, and the clients that hold its keys."""
        self._known.forget(tenant)
        self._clients.retire(tenant)

    def listener(self) -> Listener:
        """Who hears of changes that other processes commit."""
        return Listener("tenantry_models", _SQL["listen_models"], self._heard, self._deaf)

    async def close(self) -> None:
        """Drop every connection."""
        await self._clients.close()

    def _heard(self, payload: str) -> None:
        try:
            self.changed(TenantId(UUID(payload)))
        except ValueError:
            self._deaf()

    def _deaf(self) -> None:
        self._known.forget_all()
        self._clients.retire_all()
