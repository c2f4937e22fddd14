"""What each role may do. A key can narrow its member's scopes, never widen them (SEC-6)."""

from collections.abc import Iterable, Mapping

from tenantry.core.errors import Forbidden, InvalidRequest

_READ = frozenset({"chat", "data:read", "documents:read", "assistants:read", "conversations:read"})
_VIEWER = _READ | {"conversations:write"}
_ANALYST = _VIEWER | {"documents:write", "data:write", "embeddings", "usage:read"}
_ADMIN = _ANALYST | {
    "assistants:write",
    "members:read",
    "members:write",
    "keys:read",
    "keys:write",
    "audit:read",
    "usage:write",
    "providers:read",
    "providers:write",
}

ROLE_SCOPES: Mapping[str, frozenset[str]] = {
    "viewer": _VIEWER,
    "analyst": _ANALYST,
    "admin": _ADMIN,
    "owner": _ADMIN,
}
"""Scopes by role of a member. An owner differs from an admin in that only owners touch owners."""

OPERATOR_SCOPES = frozenset(
    {"tenants:read", "tenants:write", "tokens:mint", "usage:read", "audit:read", "break-glass"}
)
"""Everything an operator's key can be allowed; `tokens:mint` is what a SaaS backend needs."""

USUAL_OPERATOR_SCOPES = OPERATOR_SCOPES - {"break-glass"}
"""What a key is allowed when nothing is said: reading content is asked for by name."""


def scopes_for_key(role: str, wanted: Iterable[str] | None) -> frozenset[str]:
    """Scopes a new key of a member with `role` gets; all of the role's when none are named.

    Raises:
        InvalidRequest: a scope does not exist.
        Forbidden: a scope is beyond the role.
    """
    allowed = ROLE_SCOPES[role]
    if wanted is None:
        return allowed
    chosen = frozenset(wanted)
    unknown = chosen - _ADMIN
    if unknown:
        raise InvalidRequest(f"Unknown scopes: {', '.join(sorted(unknown))}.")
    if chosen - allowed:
        raise Forbidden(f"The role '{role}' cannot grant: {', '.join(sorted(chosen - allowed))}.")
    return chosen
