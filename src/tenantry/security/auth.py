"""From a credential to a tenant context: the only HTTP-side maker of one (SEC-6, DB-6).

The tenant comes from the credential alone. What it stands for is looked up (one round trip) and
remembered as `standing` says, so that revoking a key, disabling its member or suspending its
tenant holds from the next request on.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn
from uuid import UUID

from tenantry.core.errors import Forbidden, Unauthenticated
from tenantry.core.events import AuditEvent
from tenantry.core.ids import PLATFORM, TenantId
from tenantry.db.queries import load
from tenantry.isolation.context import Actor, ContextMint, TenantContext
from tenantry.isolation.statements import RoleDatabase
from tenantry.security.keys import ApiKey, checksum_of, digest_of
from tenantry.security.refused_sign_ins import RefusedSignIns
from tenantry.security.scopes import ROLE_SCOPES
from tenantry.security.standing import Row, Standing
from tenantry.security.tokens import MemberToken, TokenIssuer

_SQL = load("tenantry.security")
_TOUCH_EVERY = timedelta(minutes=1)
_NO_DIGEST = bytes(32)


@dataclass(frozen=True, slots=True)
class Operator:
    """An authenticated operator, with what its key allows."""

    id: UUID
    key_id: UUID
    scopes: frozenset[str]

    def __str__(self) -> str:
        return f"operator:{self.id}"

    def require(self, scope: str) -> None:
        """Refuse unless the key grants `scope`.

        Raises:
            Forbidden: it does not.
        """
        if scope not in self.scopes:
            raise Forbidden(f"This operator key lacks the scope '{scope}'.")


@dataclass(frozen=True, slots=True)
class _Caller:
    """Who a key speaks for, and what it may do."""

    tenant: TenantId
    actor: Actor
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request, and the address that it came from."""

    request_id: str
    source: str


class Authenticator:
    """Turns credentials into contexts and operators; audits what it refuses."""

    def __init__(
        self,
        door: RoleDatabase,
        mint: ContextMint,
        tokens: TokenIssuer,
        pepper: bytes,
        refused: RefusedSignIns,
        standing: Standing,
    ) -> None:
        self._door = door
        self._mint = mint
        self._tokens = tokens
        self._pepper = pepper
        self._refused = refused
        self._standing = standing
        self._clock = standing.clock

    async def context(
        self, credential: str, request_id: str, timeout_s: float, source: str = ""
    ) -> TenantContext:
        """The context of the member whose API key or member token this is; `source` asks for it.

        Raises:
            Unauthenticated: unknown, expired or revoked, or its member or tenant is not active.
        """
        deadline, asked = self._clock.monotonic() + timeout_s, _Asked(request_id, source)
        if credential.startswith("tnt_"):
            caller: _Caller = (await self._by_key(credential, asked))["caller"]
        else:
            token, row = await self._by_token(credential, asked)
            actor = Actor("member", token.member, row["role"])
            caller = _Caller(token.tenant, actor, token.scopes & ROLE_SCOPES[row["role"]])
        return self._mint.mint(caller.tenant, caller.actor, caller.scopes, request_id, deadline)

    async def operator(self, credential: str, request_id: str, source: str = "") -> Operator:
        """The operator whose key this is; `source` asks for it.

        Raises:
            Unauthenticated: unknown, expired or revoked.
        """
        key, asked = ApiKey.parse(credential), _Asked(request_id, source)
        if key is None or key.kind != "operator":
            await self._refuse(PLATFORM, "key.unknown", credential[:17], asked)
        async with self._door.autocommit() as statements:
            rows = await statements.rows(_SQL["find_operator_keys"], public_id=key.public_id)
            row = self._matching(key, rows)
            if row is None or not self._is_live(row):
                await self._refuse(PLATFORM, "key.refused", key.public_id, asked)
            if self._is_stale(row):
                await statements.execute(
                    _SQL["touch_operator_key"], key_id=row["key_id"], now=self._clock.now()
                )
        return Operator(row["operator_id"], row["key_id"], frozenset(row["scopes"]))

    def for_operator(self, operator: Operator, tenant: TenantId, request_id: str) -> TenantContext:
        """A context in which an operator provisions one tenant: no scope that reads content."""
        operator.require("tenants:write")
        actor = Actor("operator", operator.id, "operator")
        scopes = frozenset({"provision"})
        deadline = self._clock.monotonic() + 60
        return self._mint.mint(tenant, actor, scopes, request_id, deadline, "open")

    def for_token(self, operator: Operator, tenant: TenantId, request_id: str) -> TenantContext:
        """A context in which a SaaS backend finds or adds the member it mints a token for."""
        operator.require("tokens:mint")
        actor = Actor("operator", operator.id, "operator")
        deadline = self._clock.monotonic() + 60
        provision = frozenset({"provision"})
        return self._mint.mint(tenant, actor, provision, request_id, deadline, "open")

    async def _by_key(self, credential: str, asked: _Asked) -> Row:
        row = self._standing.find(digest_of(credential, self._pepper))
        if row is None or row["written"] != checksum_of(credential) or self._is_stale(row):
            key = ApiKey.parse(credential)
            if key is None or key.kind != "live":
                await self._refuse(PLATFORM, "key.unknown", credential[:17], asked)
            row = await self._look_up(key, asked)
        tenant = TenantId(row["tenant_id"])
        if not self._is_live(row) or not _is_active(row):
            await self._refuse(tenant, "key.refused", str(row["key_id"]), asked)
        return row

    async def _look_up(self, key: ApiKey, asked: _Asked) -> Row:
        moment = self._standing.moment
        async with self._door.autocommit() as statements:
            rows = await statements.rows(_SQL["find_keys"], public_id=key.public_id)
            row = self._matching(key, rows)
            if row is None:
                await self._refuse(PLATFORM, "key.unknown", key.public_id, asked)
            tenant, now = TenantId(row["tenant_id"]), self._clock.now()
            if self._is_live(row) and _is_active(row) and self._is_stale(row):
                await statements.execute(
                    _SQL["touch_key"], tenant_id=tenant, key_id=row["key_id"], now=now
                )
                row["last_used_at"] = now
        actor = Actor("member", row["member_id"], row["role"], row["key_id"])
        # A key keeps the scopes it was given, but never more than the member's role has today.
        scopes = frozenset(row["scopes"]) & ROLE_SCOPES[row["role"]]
        row |= {"caller": _Caller(tenant, actor, scopes), "written": checksum_of(key.reveal())}
        self._standing.remember(bytes(row["digest"]), tenant, row, moment)
        return row

    async def _by_token(self, credential: str, asked: _Asked) -> tuple[MemberToken, Row]:
        try:
            token = self._tokens.read(credential)
        except Unauthenticated:
            await self._refuse(PLATFORM, "token.refused", "", asked)
        row = self._standing.find((token.tenant, token.member))
        if row is None:
            moment = self._standing.moment
            async with self._door.autocommit() as statements:
                row = await statements.row(
                    _SQL["find_member"], tenant_id=token.tenant, member_id=token.member
                )
            if row is not None:
                self._standing.remember((token.tenant, token.member), token.tenant, row, moment)
        if row is None or not _is_active(row):
            await self._refuse(token.tenant, "token.refused", str(token.member), asked)
        return token, row

    def _matching(self, key: ApiKey, rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
        digest = key.digest(self._pepper)
        found = None
        # An unknown id is compared too, so that it costs what a known one costs.
        for row in [*rows, {"digest": _NO_DIGEST}]:
            if hmac.compare_digest(digest, bytes(row["digest"])):
                found = row
        return found

    def _is_live(self, row: Row) -> bool:
        expires_at, revoked_at = row["expires_at"], row["revoked_at"]
        if expires_at is None and revoked_at is None:
            return True
        return all(end > self._clock.now() for end in (expires_at, revoked_at) if end is not None)

    def _is_stale(self, row: Row) -> bool:
        used = row["last_used_at"]
        return used is None or self._clock.now() - used > _TOUCH_EVERY

    async def _refuse(self, tenant: TenantId, action: str, target: str, asked: _Asked) -> NoReturn:
        event = AuditEvent(
            tenant, "anonymous", action, "refused", "api", target, {}, asked.request_id
        )
        await self._refused.record(event, asked.source)
        raise Unauthenticated


def _is_active(row: Row) -> bool:
    return bool(row["member_status"] == "active" and row["tenant_status"] == "active")
