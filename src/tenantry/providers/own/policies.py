"""Keeps tenants' model policies: nothing is stored that could not be followed as it is written."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from psycopg.types.json import Jsonb

from tenantry.core.errors import InvalidRequest, NotFound
from tenantry.core.events import AuditSink
from tenantry.core.ids import TenantId
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database
from tenantry.providers.base import ModelRoute
from tenantry.providers.own.policy import PLATFORMS, ModelPolicy

_SQL = load("tenantry.providers.own")
_MOST_ALLOWED = 500
_MOST_FALLBACKS = 100
_MOST_OF_ONE = 5


class Names(Protocol):
    """What names mean for a tenant."""

    async def raw_models(
        self, ctx: TenantContext, policy: ModelPolicy | None = None
    ) -> Mapping[str, bool]:
        """Models that take raw calls, as a policy allows them."""
        ...

    async def meant(self, ctx: TenantContext, name: str) -> ModelRoute:
        """Where a model that answers leads; raises `NotFound`."""
        ...


class ModelPolicies:
    """Reads and sets the policy of one tenant at a time."""

    def __init__(
        self, db: Database, audit: AuditSink, names: Names, changed: Callable[[TenantId], None]
    ) -> None:
        """With who is told of a change, before the caller has its answer."""
        self._db = db
        self._audit = audit
        self._names = names
        self._changed = changed

    async def get(self, ctx: TenantContext) -> ModelPolicy:
        """The tenant's policy as it is stored."""
        async with self._db.tenant(ctx) as tx:
            return ModelPolicy.of_row(await tx.row(_SQL["get_policy"]))

    async def set(self, ctx: TenantContext, policy: ModelPolicy) -> None:
        """Replace the tenant's policy; calls that begin from now on follow it.

        Raises:
            InvalidRequest: a name in it is unknown, not allowed, or would let the platform's key
                stand in for the tenant's own without saying so.
        """
        await self._check_allowed(ctx, policy)
        await self._check_fallbacks(ctx, policy)
        async with self._db.tenant(ctx) as tx:
            await tx.execute(
                _SQL["set_policy"],
                allowed=None if policy.allowed is None else Jsonb(sorted(policy.allowed)),
                fallbacks=Jsonb({name: list(others) for name, others in policy.fallbacks.items()}),
            )
            # Inside the transaction: a change that cannot be recorded does not happen.
            allowed = None if policy.allowed is None else len(policy.allowed)
            detail = {"allowed": allowed, "fallbacks": len(policy.fallbacks)}
            await self._audit.record(
                ctx.event("model_policy.changed", "allowed", "model", "policy", detail)
            )
        self._changed(ctx.tenant)

    async def _check_allowed(self, ctx: TenantContext, policy: ModelPolicy) -> None:
        if policy.allowed is None:
            return
        if len(policy.allowed) > _MOST_ALLOWED:
            raise InvalidRequest(f"allowed: at most {_MOST_ALLOWED} names.")
        known = (await self._names.raw_models(ctx, ModelPolicy())).keys()
        accounts = {f"{name.partition('/')[0]}/*" for name in known}
        for name in sorted(policy.allowed - known - accounts):
            raise InvalidRequest(f"allowed: there is no model {_shown(name)} here.")

    async def _check_fallbacks(self, ctx: TenantContext, policy: ModelPolicy) -> None:
        if len(policy.fallbacks) > _MOST_FALLBACKS:
            raise InvalidRequest(f"fallbacks: at most {_MOST_FALLBACKS} models have some.")
        for name, others in policy.fallbacks.items():
            if not 1 <= len(others) <= _MOST_OF_ONE or _has_twice([name, *others]):
                raise InvalidRequest(
                    f"fallbacks: {_shown(name)} has 1 to {_MOST_OF_ONE} others, each once."
                )
            for each in (name, *(other.removeprefix(PLATFORMS) for other in others)):
                if not policy.allows(each):
                    raise InvalidRequest(f"fallbacks: {_shown(each)} is not among those allowed.")
            await self._check_chain(ctx, name, others)

    async def _check_chain(self, ctx: TenantContext, name: str, others: Sequence[str]) -> None:
        owner = (await self._owner(ctx, name)) if "/" in name else None
        if "/" not in name:
            raise InvalidRequest("fallbacks: the built-in answerer needs none.")
        for other in others:
            of_other = await self._owner(ctx, other)
            if owner is not None and of_other is None and not other.startswith(PLATFORMS):
                raise InvalidRequest(
                    f"fallbacks: {_shown(other)} goes out with the platform's key, and "
                    f"{_shown(name)} with your own. Write {PLATFORMS}{_shown(other)} to want that."
                )

    async def _owner(self, ctx: TenantContext, name: str) -> object:
        """Whose account answers for a model: the tenant's, or None for the platform's."""
        try:
            return (await self._names.meant(ctx, name)).account.owner
        except NotFound:
            raise InvalidRequest(f"fallbacks: {_shown(name)} is no model that answers.") from None


def _has_twice(names: Iterable[str]) -> bool:
    listed = list(names)
    return len(set(listed)) < len(listed)


def _shown(name: str) -> str:
    return name[:100]
