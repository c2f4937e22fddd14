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

BREAK_GLASS_ROWS = "(tenant_id = ( SELECT tenantry.break_glass_tenant() AS break_glass_tenant))"
"""The condition of the policies for break-glass reading."""

BREAK_GLASS_TABLES = (
    "tenants", "members", "assistants", "assistant_versions", "conversations", "messages",
    "tool_calls", "documents", "chunks", "connectors", "data_files", "patterns",
    "pattern_versions", "usage_events", "audit_events",
)  # fmt: skip
"""What a break-glass session can read: content and its record, never keys."""

_PLAN = "(set_by = 'operator'::text)"

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
    shelves = "the shelf functions and the chunks' trigger keep dedicated indexes"
    glass = "the break-glass functions keep grants and sessions, with the owner's rights"
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
            FurtherPolicy("tenantry.usage_events", "writer_adds", OWNER_ROLE, "a",
                          "append_usage() adds rows that each tenant's own context signed",
                          condition=None,
                          check="(kind = ANY (ARRAY['intent'::text, 'progress'::text, "
                                "'settled'::text]))"),
            FurtherPolicy("tenantry.break_glass_grants", "keeper", OWNER_ROLE, "*", glass,
                          check="true"),
            FurtherPolicy("tenantry.break_glass_sessions", "keeper", OWNER_ROLE, "*", glass,
                          check="true"),
            FurtherPolicy("tenantry.vector_shelves", "keeper", OWNER_ROLE, "*", shelves,
                          check="true"),
            FurtherPolicy("tenantry.vector_changes", "keeper", OWNER_ROLE, "*", shelves,
                          check="true"),
            FurtherPolicy("tenantry.chunk_vectors", "keeper", OWNER_ROLE, "*", shelves,
                          check="true"),
            FurtherPolicy("tenantry.documents", "shelver", OWNER_ROLE, "r",
                          "a shelf is filled within its tenant's own transaction",
                          condition=OWN_ROWS),
            FurtherPolicy("tenantry.chunk_embeddings", "shelver", OWNER_ROLE, "r",
                          "a shelf is filled within its tenant's own transaction",
                          condition=OWN_ROWS),
            FurtherPolicy("tenantry.break_glass_grants", "oversight", "tenantry_operator", "r",
                          "operators see who holds a grant, and why; never its token"),
        }
        | {
            FurtherPolicy(f"tenantry.{table}", "break_glass", "tenantry_breakglass", "r",
                          "a recorded session under an open grant reads one tenant",
                          condition=BREAK_GLASS_ROWS)
            for table in BREAK_GLASS_TABLES
        }
    )  # fmt: skip


def _policies_of_jobs() -> frozenset[FurtherPolicy]:
    release = "release_jobs() puts the verified tenant's own jobs into the queue"
    return frozenset(
        {
            FurtherPolicy("tenantry.jobs", "release", OWNER_ROLE, "*", release,
                          condition=OWN_ROWS, check=OWN_ROWS),
            FurtherPolicy("tenantry.job_shares", "release", OWNER_ROLE, "*", release,
                          condition=OWN_ROWS, check=OWN_ROWS),
            FurtherPolicy("tenantry.job_shares", "shares", "tenantry_operator", "*",
                          "operators give tenants their shares of the workers", check="true"),
        }
    )  # fmt: skip


def _budget_policies() -> frozenset[FurtherPolicy]:
    books = "write_budgets() writes what was signed for this tenant's transaction"
    fence = "append_usage() looks for an intent's lease; a changed budget ends every lease"
    return frozenset(
        {
            FurtherPolicy("tenantry.budget_plans", "plans", "tenantry_operator", "*",
                          "operators set each tenant's plan and calendar", check="true"),
            FurtherPolicy("tenantry.budgets", "plan", "tenantry_operator", "*",
                          "operators set each tenant's plan; its own budgets they do not see",
                          condition=_PLAN, check=_PLAN),
            FurtherPolicy("tenantry.budget_leases", "overdue", "tenantry_operator", "r",
                          "leases whose holder is gone are looked for in all tenants"),
            FurtherPolicy("tenantry.budget_plans", "keeper", OWNER_ROLE, "*", fence, check="true"),
            FurtherPolicy("tenantry.budget_counters", "keeper", OWNER_ROLE, "*", books,
                          check="true"),
            FurtherPolicy("tenantry.budget_alerts", "keeper", OWNER_ROLE, "*", books,
                          check="true"),
            FurtherPolicy("tenantry.budget_leases", "keeper", OWNER_ROLE, "*", fence,
                          check="true"),
        }
    )  # fmt: skip


FURTHER_POLICIES = _policies() | _budget_policies() | _policies_of_jobs()

PLATFORM_TABLES: Mapping[str, str] = MappingProxyType(
    {
        "tenantry.operators": "operators belong to no tenant",
        "tenantry.operator_keys": "keys of operators",
        "tenantry.price_versions": "one price book for all",
        "tenantry.prices": "one price book for all",
        "tenantry.complexity_weights": "a model weighs the same for all",
    }
)
"""Tables of schema `tenantry` without a tenant, and why."""

DEFINERS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "tenantry.verified_tenant": frozenset({TENANT_ROLE}),
        "tenantry.append_audit": frozenset(),
        "tenantry.anchor_audit": frozenset({"tenantry_audit"}),
        "tenantry.verify_audit": frozenset({"tenantry_audit"}),
        "tenantry.append_audits": frozenset({"tenantry_audit"}),
        "tenantry.append_usage": frozenset({"tenantry_ledger"}),
        "tenantry.sweep_usage": frozenset({"tenantry_operator"}),
        "tenantry.open_break_glass": frozenset({"tenantry_operator"}),
        "tenantry.close_break_glass": frozenset({"tenantry_operator"}),
        "tenantry.enter_break_glass": frozenset({"tenantry_breakglass"}),
        "tenantry.break_glass_tenant": frozenset({"tenantry_breakglass"}),
        "tenantry.tell_standing": frozenset(),
        "tenantry.open_shelf": frozenset({TENANT_ROLE}),
        "tenantry.advance_shelf": frozenset({TENANT_ROLE}),
        "tenantry.retire_shelf": frozenset({TENANT_ROLE}),
        "tenantry.free_shelf": frozenset({TENANT_ROLE}),
        "tenantry.shelve_chunks": frozenset(),
        "tenantry.release_jobs": frozenset({TENANT_ROLE}),
        "tenantry.recover_jobs": frozenset({TENANT_ROLE}),
        "tenantry.rebase_jobs": frozenset({"tenantry_queue"}),
        "tenantry.tell_weight": frozenset(),
        "tenantry.tell_models": frozenset(),
        "tenantry.hold_budgets": frozenset({TENANT_ROLE}),
        "tenantry.hold_lease": frozenset({TENANT_ROLE}),
        "tenantry.write_budgets": frozenset({TENANT_ROLE}),
        "tenantry.tell_budgets": frozenset(),
        "tenantry.tell_calendar": frozenset(),
    }
)
"""Functions that run with the owner's rights, and the roles that may call them."""

_READ_ADD = "SELECT INSERT"
_GRANT_SEEN = (  # every column but the token's digest
    "SELECT(tenant_id) SELECT(grant_id) SELECT(operator_id) SELECT(reason) SELECT(opened_at) "
    "SELECT(expires_at) SELECT(closed_at)"
)
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
        "tenantry.budget_plans": "SELECT",
        "tenantry.budgets": _ALL,  # the operator's are guarded by a trigger
        "tenantry.budget_counters": "SELECT",  # written by one function, which wants a MAC
        "tenantry.budget_leases": "SELECT",
        "tenantry.budget_alerts": "SELECT",
        "tenantry.assistants": _ALL,
        "tenantry.assistant_versions": _READ_ADD,
        "tenantry.conversations": _ALL,
        "tenantry.messages": _READ_ADD,
        "tenantry.tool_calls": _READ_ADD,
        "tenantry.documents": "SELECT INSERT DELETE",
        "tenantry.chunks": "SELECT INSERT DELETE",
        "tenantry.chunk_embeddings": "SELECT INSERT DELETE",
        "tenantry.searchable_documents": "SELECT",
        "tenantry.vector_versions": "SELECT INSERT UPDATE",
        "tenantry.vector_shelves": "SELECT",  # written by their functions, and by the trigger
        "tenantry.chunk_vectors": "SELECT",
        "tenantry.connectors": _ALL,
        "tenantry.data_files": _ALL,
        "tenantry.result_files": "SELECT INSERT DELETE",
        "tenantry.suspended_operations": "SELECT INSERT DELETE",
        "tenantry.approvals": _ALL,
        "tenantry.patterns": _ALL,
        "tenantry.pattern_versions": _READ_ADD,
        "tenantry.break_glass_grants": _GRANT_SEEN,
        "tenantry.vault_keys": (  # never deleted: a destroyed key's row is the record of it
            "SELECT INSERT UPDATE(wrapped) UPDATE(wrapped_by) UPDATE(seals) UPDATE(destroyed_at)"
        ),
        "tenantry.provider_accounts": _ALL,
        "tenantry.model_policies": _ALL,
        "tenantry.vault_secrets": "SELECT INSERT DELETE UPDATE(key_version) UPDATE(sealed)",
        "tenantry.jobs": _ALL,
        "tenantry.job_inputs": "SELECT INSERT DELETE",
        "tenantry.job_shares": "SELECT",
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
        "tenantry.budget_plans": "SELECT INSERT UPDATE",
        "tenantry.budgets": _ALL,
        "tenantry.budget_leases": "SELECT",
        "tenantry.complexity_weights": _ALL,
        "tenantry.break_glass_grants": _GRANT_SEEN,
        "tenantry.job_shares": "SELECT INSERT UPDATE(weight) UPDATE(most_at_once)",
    },
    "tenantry_ledger": {"tenantry": "USAGE"},
    "tenantry_queue": {  # it takes what release_jobs() put in, and adds nothing
        "tenantry": "USAGE",
        "tenantry_queue": "USAGE",
        "tenantry_queue.pgqueuer": "SELECT UPDATE DELETE",
        "tenantry_queue.pgqueuer_log": "SELECT INSERT DELETE",
        "tenantry_queue.pgqueuer_statistics": "SELECT",
        "tenantry_queue.virtual_time": "SELECT UPDATE",
    },
    "tenantry_breakglass": {
        "tenantry": "USAGE",
        **{f"tenantry.{table}": "SELECT" for table in BREAK_GLASS_TABLES},
    },
}

GRANTS: frozenset[tuple[str, str, str]] = frozenset(
    (object_name, role, privilege)
    for role, granted in _GRANTS.items()
    for object_name, privileges in granted.items()
    for privilege in privileges.split()
)
"""Every privilege on our relations and schemas: (object, role, privilege)."""
