"""What an attacker would look at: every table that tenants may read, and the neighbour's rows."""

READABLE = (
    "tenants", "members", "api_keys", "audit_events", "usage_events", "assistants",
    "assistant_versions", "conversations", "messages", "tool_calls", "documents", "chunks",
    "connectors", "data_files", "result_files", "patterns", "pattern_versions", "vault_keys",
    "vault_secrets", "suspended_operations", "approvals", "vector_shelves", "chunk_vectors",
    "searchable_documents", "jobs", "job_inputs", "job_shares", "budget_plans", "budgets",
    "budget_counters", "budget_leases", "budget_alerts", "model_policies", "provider_accounts",
    "groups", "group_members", "audiences", "chunk_embeddings", "vector_versions",
)  # fmt: skip
LOOK = " UNION ALL ".join(f"SELECT t::text AS row FROM tenantry.{name} AS t" for name in READABLE)
FOREIGN = "SELECT content FROM tenantry.messages WHERE tenant_id = %(globex)s"
