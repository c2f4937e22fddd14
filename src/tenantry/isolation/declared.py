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

OPEN_OR_READABLE = (
    "((audience = 0) OR (audience = ANY (( SELECT tenantry.readable_audiences() "
    "AS readable_audiences)::integer[])))"
)
"""Which rows of a document are seen: those open to all, and those of the actor's audiences."""

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
        is_permissive: whether it lets rows in; if not, it takes some of them away.
    """

    relation: str
    name: str
    role: str
    command: str
    reason: str
    condition: str | None = "true"
    check: str | None = None
    is_permissive: bool = True


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
            FurtherPolicy("tenantry.tenants", "release", OWNER_ROLE, "r",
                          "release_jobs() reads what the verified tenant weighs",
                          condition=OWN_ROWS),
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


def _policies_of_groups() -> frozenset[FurtherPolicy]:
    known = "audience_of() and sweep_audiences() must know a tenant's sets of groups whole"
    return frozenset(
        FurtherPolicy(f"tenantry.{table}", "keeper", OWNER_ROLE, "*", known, OWN_ROWS, OWN_ROWS)
        for table in ("groups", "group_members", "audiences")
    )


FURTHER_POLICIES = _policies() | _budget_policies() | _policies_of_jobs() | _policies_of_groups()


def _restricted(
    table: str, name: str, command: str, condition: str | None, check: str | None
) -> FurtherPolicy:
    why = "inside a tenant, who acts decides; nobody writes what decides it, but a keeper"
    relation = f"tenantry.{table}"
    return FurtherPolicy(relation, name, TENANT_ROLE, command, why, condition, check, False)


_VIEW = "( SELECT tenantry.current_view() AS current_view)"
_SEES_ALL = f"({_VIEW} = ANY (ARRAY['e'::text, 'k'::text]))"
_KEEPS = f"({_VIEW} = 'k'::text)"
_KEEPS_MEMBERS = f"({_VIEW} = ANY (ARRAY['k'::text, 'p'::text]))"
_OWN_MEMBERSHIP = (
    f"({_SEES_ALL} OR (({_VIEW} = 'g'::text) AND (member_id = "
    "( SELECT tenantry.current_actor() AS current_actor))))"
)
_MEMBERSHIPS = "( SELECT m.group_id\n   FROM tenantry.group_members m)"

RESTRICTIONS = frozenset(
    {
        *(
            _restricted(table, "readers", "*", OPEN_OR_READABLE, OPEN_OR_READABLE)
            for table in ("documents", "chunks", "chunk_embeddings", "chunk_vectors", "jobs",
                          "job_inputs")
        ),
        _restricted("documents", "kept", "w", _KEEPS, _KEEPS),
        _restricted("group_members", "own", "*", _OWN_MEMBERSHIP, _KEEPS),
        _restricted("groups", "own", "*",
                    f"({_SEES_ALL} OR (group_id IN {_MEMBERSHIPS}))", _KEEPS),
        _restricted("audiences", "own", "*",
                    f"({_SEES_ALL} OR (groups && ARRAY{_MEMBERSHIPS}))", "false"),
        _restricted("group_members", "kept", "d", _KEEPS, None),
        _restricted("groups", "kept", "d", _KEEPS, None),
        _restricted("members", "written", "*", "true", _KEEPS_MEMBERS),
        _restricted("members", "kept", "d", _KEEPS_MEMBERS, None),
        _restricted("api_keys", "written", "*", "true", _KEEPS_MEMBERS),
    }
)  # fmt: skip
"""Policies that take rows away, inside a tenant: each must be there, as it stands here."""

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
        "tenantry.audience_of": frozenset({TENANT_ROLE}),
        "tenantry.sweep_audiences": frozenset({TENANT_ROLE}),
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
        "tenantry.documents": "SELECT INSERT DELETE UPDATE(audience)",
        "tenantry.groups": "SELECT INSERT DELETE",
        "tenantry.group_members": "SELECT INSERT DELETE",
        "tenantry.audiences": "SELECT",  # made and removed by their functions
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
        "tenantry.job_shares": "SELECT INSERT UPDATE(most_at_once)",
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
