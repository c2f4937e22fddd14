"""Clients of tenants' own accounts: one a (tenant, account, version of the key), and not for ever.

Nothing here is looked up by a name: the key of the cache holds the tenant, and a client lets nobody
else through.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from uuid import UUID

from tenantry.core.ids import TenantId
from tenantry.isolation.context import TenantContext
from tenantry.providers.accounts import key_headers, patience_of
from tenantry.providers.connecting import Trust
from tenantry.providers.own.guarded import GuardedUpstream
from tenantry.providers.own.records import OwnAccount
from tenantry.security.egress.guard import EgressGuard
from tenantry.security.vault.vault import Vault

KEY_FIELD = "key"
"""Name of the one secret of an account."""
_MOST = 512


@dataclass(frozen=True, slots=True)
class _ClientKey:
    tenant: TenantId
    account: UUID
    credential_version: int
    base_url: str


class OwnClients:
    """Opens clients when they are first needed; keeps those that were used last."""

    def __init__(self, vault: Vault, guard: EgressGuard, most: int = _MOST) -> None:
        self._vault = vault
        self._guard = guard
        self._most = most
        self._trust = Trust()
        self._clients: OrderedDict[_ClientKey, GuardedUpstream] = OrderedDict()
        self._changes = 0
        self._ending: set[asyncio.Task[None]] = set()

    async def client(self, ctx: TenantContext, account: OwnAccount) -> GuardedUpstream:
        """The client of an account of the caller's tenant; its key is opened when it is new.

        Raises:
            NotFound: this version of the key is in the vault no more.
            SecretUnreadable: the key does not open; recorded.
            VaultUnavailable: the keeper of the keys does not answer.
        """
        key = _ClientKey(ctx.tenant, account.id, account.credential_version, account.entry.url)
        if known := self._clients.get(key):
            self._clients.move_to_end(key)
            return known
        moment = self._changes
        credential = await self._vault.open(ctx, account.secret_owner, account.credential_version)
        if known := self._clients.get(key):  # somebody else was as quick
            return known
        headers = key_headers(account.entry, credential.fields[KEY_FIELD].reveal())
        patience = patience_of(account.entry)
        made = GuardedUpstream(
            self._guard, ctx.tenant, account.entry.url, headers, patience, self._trust
        )
        if moment != self._changes:
            # Something changed meanwhile, perhaps this key: good for one call, and not kept.
            made.retire(self._end)
            return made
        self._clients[key] = made
        if len(self._clients) > self._most:
            _, oldest = self._clients.popitem(last=False)
            oldest.retire(self._end)
        return made

    def retire(self, tenant: TenantId) -> None:
        """Let go of all clients of a tenant, each once its calls under way have ended."""
        self._changes += 1
        for key in [key for key in self._clients if key.tenant == tenant]:
            self._clients.pop(key).retire(self._end)

    def retire_all(self) -> None:
        """Let go of every client, likewise."""
        self._changes += 1
        for client in self._clients.values():
            client.retire(self._end)
        self._clients.clear()

    async def close(self) -> None:
        """Drop every connection."""
        clients = list(self._clients.values())
        self._clients.clear()
        for client in clients:
            await client.close()
        await asyncio.gather(*self._ending)

    def _end(self, client: GuardedUpstream) -> None:
        task = asyncio.get_running_loop().create_task(client.close_if_idle())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
