"""A tenant's own accounts: each tried before it is stored, its key sealed and never shown again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID

from psycopg.types.json import Jsonb

from tenantry.core.errors import AccountRemoved, Conflict, InvalidRequest, NotFound
from tenantry.core.events import AuditSink
from tenantry.core.ids import TenantId, new_id
from tenantry.core.secret import Secret
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database, Transaction
from tenantry.providers.own.clients import KEY_FIELD
from tenantry.providers.own.login import try_login
from tenantry.providers.own.records import (
    AccountChange,
    Description,
    NewAccount,
    OwnAccount,
    stored_models,
)
from tenantry.providers.providers_file import AccountEntry, is_key
from tenantry.security.egress.guard import EgressGuard
from tenantry.security.vault.envelope import SecretOwner
from tenantry.security.vault.vault import Vault

_SQL = load("tenantry.providers.own")
MOST_ACCOUNTS = 50
_MOST_MODELS = 200


@dataclass(frozen=True, slots=True)
class Kept:
    """An account as it is stored now, and what its trial warned of."""

    account: OwnAccount
    warnings: Sequence[str]


@dataclass(frozen=True, slots=True)
class AccountServices:
    """What accounts are kept with.

    Attributes:
        db: the tenants' rows.
        vault: where keys are sealed.
        guard: the way out.
        audit: the log.
        changed: told of a tenant whose accounts changed, before the caller has its answer.
    """

    db: Database
    vault: Vault
    guard: EgressGuard
    audit: AuditSink
    changed: Callable[[TenantId], None]


class ProviderAccounts:
    """Adds, lists, changes, tries and removes accounts, within one tenant at a time."""

    def __init__(self, services: AccountServices) -> None:
        self._db = services.db
        self._vault = services.vault
        self._guard = services.guard
        self._audit = services.audit
        self._changed = services.changed

    async def create(self, ctx: TenantContext, new: NewAccount) -> Kept:
        """Add an account, after its provider was asked once with the key given.

        Raises:
            InvalidRequest: the name, a model, the base URL or the key cannot be.
            EgressRefused: its address may not be reached; recorded.
            AccountRefused: it does not answer, or does not take the key; says which.
            Conflict: the name is taken in this tenant.
        """
        entry = _checked(new.name, new.description)
        warnings = await self._tried(ctx, entry, new.key)
        account = new_id()
        sealed = await self._vault.seal(
            ctx, SecretOwner("provider_account", account), {KEY_FIELD: new.key}
        )
        try:
            async with self._db.tenant(ctx) as tx:
                await tx.execute(_SQL["clear_removed"], name=entry.name)
                row = await tx.row(
                    _SQL["create_account"],
                    account_id=account,
                    name=entry.name,
                    kind=entry.kind,
                    base_url=entry.url,
                    max_tokens_field=entry.max_tokens_field,
                    models=Jsonb(stored_models(entry)),
                    credential_version=sealed.version,
                    most=MOST_ACCOUNTS,
                )
                if row is None:
                    raise InvalidRequest(f"A tenant has at most {MOST_ACCOUNTS} accounts.")
                await self._vault.store(tx, sealed)
                await self._record(tx, "provider_account.created", account, entry)
        except Conflict as error:
            raise Conflict("There is an account of this name.") from error
        self._changed(ctx.tenant)
        return Kept(OwnAccount.of_row(row), warnings)

    async def change(self, ctx: TenantContext, account_id: UUID, change: AccountChange) -> Kept:
        """Give an account another key (a rotation), other models or another base URL.

        Calls under way end with the earlier key; every later one uses the new. A key stays with
        the origin it was given for: another one needs it anew.

        Raises:
            NotFound: no such account in this tenant.
            AccountRemoved: it was removed.
            InvalidRequest, EgressRefused, AccountRefused: as for `create`.
            Conflict: it was changed by somebody else meanwhile.
        """
        old = await self._present(ctx, account_id)
        entry = _checked(old.entry.name, _described(old.entry, change))
        key = change.key
        if key is None:
            if _origin(entry.url) != _origin(old.entry.url):
                raise InvalidRequest("Give the key again: this is another destination.")
            key = await self._key(ctx, old)
        warnings = await self._tried(ctx, entry, key)
        sealed = None
        if change.key is not None:
            sealed = await self._vault.seal(ctx, old.secret_owner, {KEY_FIELD: change.key})
        async with self._db.tenant(ctx) as tx:
            row = await tx.row(
                _SQL["change_account"],
                account_id=account_id,
                base_url=entry.url,
                max_tokens_field=entry.max_tokens_field,
                models=Jsonb(stored_models(entry)),
                credential_version=sealed.version if sealed else old.credential_version,
                known_version=old.credential_version,
            )
            if row is None:
                raise Conflict("The account was changed by somebody else meanwhile.")
            if sealed is not None:
                await self._vault.store(tx, sealed)
            action = "provider_account.rotated" if sealed else "provider_account.changed"
            await self._record(tx, action, account_id, entry)
        self._changed(ctx.tenant)
        return Kept(OwnAccount.of_row(row), warnings)

    async def list_accounts(self, ctx: TenantContext, after: UUID, limit: int) -> list[OwnAccount]:
        """Accounts with ids after `after`, oldest first; the removed whose names are held too."""
        async with self._db.tenant(ctx) as tx:
            rows = await tx.rows(_SQL["list_accounts"], after=after, limit=limit)
        return [OwnAccount.of_row(row) for row in rows]

    async def get(self, ctx: TenantContext, account_id: UUID) -> OwnAccount:
        """One account.

        Raises:
            NotFound: no such account in this tenant.
        """
        async with self._db.tenant(ctx) as tx:
            return OwnAccount.of_row(await tx.row(_SQL["get_account"], account_id=account_id))

    async def test(self, ctx: TenantContext, account_id: UUID) -> Sequence[str]:
        """Ask the provider once with the stored key; what could be safer or may be wrong.

        Raises:
            NotFound: no such account in this tenant.
            AccountRemoved: it was removed.
            EgressRefused, AccountRefused: as for `create`.
            SecretUnreadable: the key does not open; recorded.
        """
        account = await self._present(ctx, account_id)
        return await self._tried(ctx, account.entry, await self._key(ctx, account))

    async def remove(self, ctx: TenantContext, account_id: UUID, *, release: bool = False) -> None:
        """Forget an account's key; hold its name, or release it as well.

        What names a removed account goes on failing until its name is released or used anew: it
        must not begin to lead to the platform's account of that name by itself.

        Raises:
            NotFound: no such account in this tenant, or it was removed before.
        """
        account = await self.get(ctx, account_id)
        async with self._db.tenant(ctx) as tx:
            statement = _SQL["release_account" if release else "remove_account"]
            if await tx.execute(statement, account_id=account_id) == 0:
                raise NotFound
            await self._vault.forget(tx, account.secret_owner)
            action = "provider_account.released" if release else "provider_account.removed"
            await self._record(tx, action, account_id, account.entry)
        self._changed(ctx.tenant)

    async def _present(self, ctx: TenantContext, account_id: UUID) -> OwnAccount:
        account = await self.get(ctx, account_id)
        if account.removed_at is not None:
            raise AccountRemoved
        return account

    async def _key(self, ctx: TenantContext, account: OwnAccount) -> Secret:
        opened = await self._vault.open(ctx, account.secret_owner, account.credential_version)
        return opened.fields[KEY_FIELD]

    async def _tried(self, ctx: TenantContext, entry: AccountEntry, key: Secret) -> Sequence[str]:
        if not is_key(key.reveal()):
            raise InvalidRequest("key: printable characters without spaces are needed.")
        return await try_login(ctx, self._guard, entry, key)

    async def _record(
        self, tx: Transaction, action: str, account: UUID, entry: AccountEntry
    ) -> None:
        # Inside the transaction: a change that cannot be recorded does not happen.
        detail = {"name": entry.name, "kind": entry.kind}
        await self._audit.record(
            tx.ctx.event(action, "allowed", "provider_account", str(account), detail)
        )


def _checked(name: str, description: Description) -> AccountEntry:
    if len(description.models) > _MOST_MODELS:
        raise InvalidRequest(f"An account has at most {_MOST_MODELS} models.")
    return description.entry(name)


def _described(entry: AccountEntry, change: AccountChange) -> Description:
    """The account as it is to be."""
    models = stored_models(entry) if change.models is None else change.models
    url = entry.url if change.base_url is None else change.base_url
    field = change.max_tokens_field or entry.max_tokens_field
    return Description(entry.kind, models, url, field)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port
