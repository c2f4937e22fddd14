"""What the database may hold besides the one tenant policy: everything else is a violation.

These lists are read by `isolation.policies` against `pg_catalog`. A table, grant, policy or
function added tomorrow stands here with a reason, or start-up refuses.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

TENANT_ROLE = "tenantry_tenant"
OWNER_ROLE = "tenantry_owner"
OWN_ROWS = "(tenant_id = ( SELECT tenantry.current_tenant() AS current_tenant))"
"""The tenant policy's USING and WITH CHECK, as `pg_get_expr` prints it."""

SAFE_SEARCH_PATH = "pg_catalog, pg_temp"
"""Of definer-rights functions: nothing a caller can create in comes before PostgreSQL's own."""


@dataclass(frozen=True, slots=True)
class FurtherPolicy:
    """A policy beside the tenant's own, and why it may exist.

    Attributes:
        relation: table with its schema.
        name: the policy's name.
        role: the one role it serves.
        command: as in `pg_policy.polcmd`: r select, a insert, w update, d delete, * all.
        reason: why rows of several tenants may be reached.
        condition: USING, as `pg_get_expr` prints it; None if absent.
        check: WITH CHECK, likewise.
    """

    relation: str
    name: str
    role: str
    command: str
    reason: str
    condition: str | None = "true"
    check: str | None = None


def _policies() -> frozenset[FurtherPolicy]:
    sign_in = "a credential is looked up before its tenant is known"
    chain = "append_audit() alone writes the chain, with the owner's rights"
    verify = "the log is verified whole, every chain of it"
    return frozenset(
        {
            FurtherPolicy("tenantry.tenants", "directory", "tenantry_operator", "*",
                          "operators keep the directory of tenants", check="true"),
            FurtherPolicy("tenantry.tenants", "sign_in", "tenantry_auth", "r", sign_in),
            FurtherPolicy("tenantry.members", "sign_in", "tenantry_auth", "r", sign_in),
            FurtherPolicy("tenantry.api_keys", "sign_in", "tenantry_auth", "r", sign_in),
            FurtherPolicy("tenantry.api_keys", "last_use", "tenantry_auth", "w",
                          "the time of last use, the one column granted", check="true"),
            FurtherPolicy("tenantry.audit_events", "chain", OWNER_ROLE, "*", chain, check="true"),
            FurtherPolicy("tenantry.audit_heads", "chain", OWNER_ROLE, "*", chain, check="true"),
            FurtherPolicy("tenantry.audit_events", "verify", "tenantry_audit", "r", verify),
            FurtherPolicy("tenantry.audit_heads", "verify", "tenantry_audit", "r", verify),
            FurtherPolicy("tenantry.usage_events", "totals", "tenantry_operator", "r",
                          "operators see what each tenant used; the ledger holds no content"),
            FurtherPolicy("tenantry.usage_events", "sweeper_reads", OWNER_ROLE, "r",
                          "sweep_usage() finds calls whose process died"),
            FurtherPolicy("tenantry.usage_events", "sweeper_adds", OWNER_ROLE, "a",
                          "sweep_usage() closes such calls, unconfirmed", condition=None,
                          check="((kind = 'swept'::text) AND (NOT confirmed))"),
        }
    )  # fmt: skip


FURTHER_POLICIES = _policies()

PLATFORM_TABLES: Mapping[str, str] = MappingProxyType(
    {
        "tenantry.operators": "operators belong to no tenant",
        "tenantry.operator_keys": "keys of operators",
        "tenantry.price_versions": "one price book for all",
        "tenantry.prices": "one price book for all",
    }
)
"""Tables of schema `tenantry` without a tenant, and why."""

DEFINERS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "tenantry.current_tenant": frozenset({TENANT_ROLE}),
        "tenantry.append_audit": frozenset({"tenantry_audit"}),
        "tenantry.anchor_audit": frozenset({"tenantry_audit"}),
        "tenantry.verify_audit": frozenset({"tenantry_audit"}),
        "tenantry.sweep_usage": frozenset({"tenantry_operator"}),
    }
)
"""Functions that run with the owner's rights, and the roles that may call them."""

_READ_ADD = "SELECT INSERT"
_ALL = "SELECT INSERT UPDATE DELETE"
_GRANTS: Mapping[str, Mapping[str, str]] = {
    TENANT_ROLE: {
        "tenantry": "USAGE",
        "tenantry.tenants": "SELECT",
        "tenantry.members": _ALL,
        "tenantry.api_keys": "SELECT INSERT UPDATE",
        "tenantry.audit_events": "SELECT",  # appended by another role, through one function
        "tenantry.usage_events": _READ_ADD,  # a ledger is never rewritten
        "tenantry.price_versions": "SELECT",
        "tenantry.prices": "SELECT",
        "tenantry.assistants": _ALL,
        "tenantry.assistant_versions": _READ_ADD,
        "tenantry.conversations": _ALL,
        "tenantry.messages": _READ_ADD,
        "tenantry.tool_calls": _READ_ADD,
        "tenantry.documents": "SELECT INSERT DELETE",
        "tenantry.chunks": "SELECT INSERT DELETE",
        "tenantry.connectors": _ALL,
        "tenantry.data_files": _ALL,
        "tenantry.patterns": _ALL,
        "tenantry.pattern_versions": _READ_ADD,
    },
    "tenantry_auth": {
        "tenantry": "USAGE",
        "tenantry.tenants": "SELECT",
        "tenantry.members": "SELECT",
        "tenantry.api_keys": "SELECT UPDATE(last_used_at)",
        "tenantry.operators": "SELECT",
        "tenantry.operator_keys": "SELECT UPDATE(last_used_at)",
    },
    "tenantry_audit": {
        "tenantry": "USAGE",
        "tenantry.audit_events": "SELECT",
        "tenantry.audit_heads": "SELECT",
    },
    "tenantry_operator": {
        "tenantry": "USAGE",
        "tenantry_private": "USAGE",
        "tenantry_private.migrations": "SELECT",
        "tenantry.tenants": "SELECT INSERT UPDATE",
        "tenantry.operators": _READ_ADD,
        "tenantry.operator_keys": "SELECT INSERT UPDATE",
        "tenantry.usage_events": "SELECT",
        "tenantry.price_versions": _READ_ADD,
        "tenantry.prices": _READ_ADD,
    },
    "tenantry_breakglass": {"tenantry": "USAGE"},
}

GRANTS: frozenset[tuple[str, str, str]] = frozenset(
    (object_name, role, privilege)
    for role, granted in _GRANTS.items()
    for object_name, privileges in granted.items()
    for privilege in privileges.split()
)
"""Every privilege on our relations and schemas: (object, role, privilege)."""
