"""The tenant context: the one object through which everything of a tenant is reached.

It is always passed explicitly, as the first argument, never ambient. It cannot be forged by
building one: a context carries a seal (a MAC over its fields) that only a `ContextMint`
can make, and `isolation.transaction` refuses a context whose seal does not fit (DB-6). Mints are
built once in `tenantry.platform` and handed to authentication and to workers only.
"""

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from tenantry.core.errors import ContextInvalid, Forbidden
from tenantry.core.events import AuditEvent, Json, Outcome
from tenantry.core.ids import MemberId, TenantId

ActorKind = Literal["member", "operator", "worker"]
Role = Literal["owner", "admin", "analyst", "viewer", "operator", "worker"]
Sight = Literal["groups", "open", "everything"]
"""Which documents of its tenant a context sees: those its member's groups may read, only those that
are open to all, or everything, which is for work of the platform's own."""
_KEEPERS = frozenset({"owner", "admin"})


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a member of the tenant, an operator provisioning it, or a background worker.

    Attributes:
        kind: which of them.
        id: the member, the operator, or the kind of work.
        role: what it may be allowed.
        key_id: the API key it signed in with; None for a token.
    """

    kind: ActorKind
    id: UUID
    role: Role
    key_id: UUID | None = None
    _text: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Written several times a request, and the same actor asks again and again.
        object.__setattr__(self, "_text", f"{self.kind}:{self.id}")

    def __str__(self) -> str:
        return self._text


@dataclass(frozen=True, slots=True)
class TenantContext:
    """Proof that the holder acts for one tenant, as one actor, with these scopes.

    Attributes:
        tenant: the tenant; every row reached through this context belongs to it.
        actor: who acts.
        scopes: what the actor may do, such as `chat` or `documents:write`.
        request_id: the request this belongs to; in every log line and audit event.
        deadline: monotonic clock reading, in seconds, after which work must stop.
        sees: which documents of the tenant.
        seal: MAC over the fields above; made by `ContextMint` only.
    """

    tenant: TenantId
    actor: Actor
    scopes: frozenset[str]
    request_id: str
    deadline: float
    seal: bytes = field(repr=False, compare=False)
    sees: Sight = "groups"

    @property
    def keeps_access(self) -> bool:
        """Whether the actor may keep the tenant's groups, access lists, members and keys."""
        return self.sees == "groups" and self.actor.role in _KEEPERS

    @property
    def member(self) -> MemberId:
        """The member acting.

        Raises:
            Forbidden: the actor is no member of the tenant.
        """
        if self.actor.kind != "member":
            raise Forbidden("Only a member of the tenant can do this.")
        return MemberId(self.actor.id)

    def require(self, scope: str) -> None:
        """Refuse unless `scope` was granted.

        Raises:
            Forbidden: it was not.
        """
        if scope not in self.scopes:
            raise Forbidden(f"This credential lacks the scope '{scope}'.")

    def event(
        self,
        action: str,
        outcome: Outcome,
        layer: str,
        target: str = "",
        detail: Mapping[str, Json] | None = None,
    ) -> AuditEvent:
        """An audit event of this tenant, actor and request: a caller cannot name others."""
        return AuditEvent(
            tenant=self.tenant,
            actor=str(self.actor),
            action=action,
            outcome=outcome,
            layer=layer,
            target=target,
            detail=detail or {},
            request_id=self.request_id,
        )


_MOST_SCOPE_TEXTS = 256
_MOST_GENUINE = 512
"""Contexts remembered as checked: about as many as are in use at once."""


class ContextMint:
    """Makes and verifies contexts; holds the process's sealing key, which never leaves it."""

    def __init__(self, key: bytes) -> None:
        # A MAC for this process alone: BLAKE2b with a key takes half the time of HMAC-SHA256.
        self._keyed = hashlib.blake2b(key=hashlib.sha512(key).digest(), digest_size=32)
        self._scope_texts: dict[frozenset[str], str] = {}
        self._genuine: OrderedDict[bytes, TenantContext] = OrderedDict()

    def mint(
        self,
        tenant: TenantId,
        actor: Actor,
        scopes: frozenset[str],
        request_id: str,
        deadline: float,
        sees: Sight = "groups",
    ) -> TenantContext:
        """A sealed context for `actor` in `tenant`, which sees these of its documents."""
        seal = self._seal(tenant, actor, scopes, request_id, deadline, sees)
        ctx = TenantContext(tenant, actor, scopes, request_id, deadline, seal, sees)
        self._remember(ctx)
        return ctx

    def verify(self, ctx: TenantContext) -> None:
        """Refuse a context that this mint did not make, or that was changed since.

        Raises:
            ContextInvalid: the seal does not fit the fields.
        """
        # The very object that was made or checked before, which cannot change; not one like it.
        if self._genuine.get(ctx.seal) is ctx:
            return
        expected = self._seal(
            ctx.tenant, ctx.actor, ctx.scopes, ctx.request_id, ctx.deadline, ctx.sees
        )
        if not hmac.compare_digest(expected, ctx.seal):
            raise ContextInvalid
        self._remember(ctx)

    def _remember(self, ctx: TenantContext) -> None:
        self._genuine[ctx.seal] = ctx
        if len(self._genuine) > _MOST_GENUINE:
            self._genuine.popitem(last=False)

    def _seal(
        self,
        tenant: TenantId,
        actor: Actor,
        scopes: frozenset[str],
        request_id: str,
        deadline: float,
        sees: Sight,
    ) -> bytes:
        fields = (
            tenant.hex, actor.kind, actor.id.hex, actor.role, actor.key_id and actor.key_id.hex,
            self._text(scopes), request_id, deadline, sees,
        )  # fmt: skip
        # A literal of Python's: each text is quoted and what is in it escaped, so that no field's
        # content can be moved into its neighbour.
        keyed = self._keyed.copy()
        keyed.update(repr(fields).encode("utf-8", "surrogatepass"))
        return keyed.digest()

    def _text(self, scopes: frozenset[str]) -> str:
        # Few sets of scopes are in use, and each is sealed and checked several times a request.
        text = self._scope_texts.get(scopes)
        if text is None:
            text = repr(sorted(scopes))
            if len(self._scope_texts) < _MOST_SCOPE_TEXTS:
                self._scope_texts[scopes] = text
        return text
