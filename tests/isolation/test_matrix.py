"""The isolation matrix is true, covers everything there is, and says yes to no neighbour."""

import asyncio

import pytest
from fastapi import FastAPI

from tenantry.api.server import build_resources
from tenantry.tools.toolbox import TOOL_NAMES
from tests.isolation import matrix, matrix_routes, matrix_tables
from tests.isolation.arena import build
from tests.isolation.matrix_tools import Source, call_of
from tests.isolation.served import operations_of, served_operations
from tests.worlds import Cluster

_ALL_TENANTS = {
    "members auth": "a credential is looked up before its tenant is known",
    "api_keys auth": "a credential is looked up before its tenant is known",
    "tenants auth": "a credential is looked up before its tenant is known",
    "tenants operator": "operators keep the directory of tenants",
    "usage_events operator": "operators see what each tenant used",
    "budget_plans operator": "operators set each tenant's plan and calendar",
    "budget_leases operator": "leases whose holder is gone are looked for in all tenants",
    "job_shares operator": "operators set how much of each tenant's work runs",
    "break_glass_grants operator": "operators see who holds a grant, and why",
    "audit_events audit": "the log is verified whole, every chain of it",
    "audit_heads audit": "the log is verified whole, every chain of it",
    "GET /v1/tenants/{tenant_id}": "operators keep the directory of tenants",
    "PATCH /v1/tenants/{tenant_id}": "operators keep the directory of tenants",
    "GET /v1/tenants/{tenant_id}/budgets": "operators set each tenant's plan",
    "PUT /v1/tenants/{tenant_id}/budgets": "operators set each tenant's plan",
    "DELETE /v1/tenants/{tenant_id}/budgets/{budget_id}": "operators set each tenant's plan",
    "PUT /v1/tenants/{tenant_id}/time-zone": "operators set each tenant's plan",
    "GET /v1/tenants/{tenant_id}/embedder": "operators choose what embeds a tenant",
    "PUT /v1/tenants/{tenant_id}/embedder": "operators choose what embeds a tenant",
    "POST /v1/tenants/{tenant_id}/break-glass": "opens one tenant for a reason, on its own record",
    "DELETE /v1/operator/break-glass/{grant_id}": "whoever responds may end what was opened",
}
"""Where an actor reaches rows of every tenant, and why: this list may only shrink."""
_ROLES = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'tenantry\\_%' AND rolcanlogin ORDER BY 1"


@pytest.fixture(scope="module")
def derived(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The matrix as it is today, found out by doing everything in it."""
    return asyncio.run(matrix.derive(cluster, tmp_path_factory.mktemp("matrix")))


@pytest.mark.req("SEC-4", "SEC-6", "DB-1", "SEC-3")
@pytest.mark.parametrize("title", [matrix.ROUTES, matrix.TABLES, matrix.TOOLS])
def test_the_golden_matrix_is_what_happens(derived: dict[str, str], title: str) -> None:
    # Changed on purpose? `python -m tests.isolation.matrix` writes it anew; review every line.
    assert derived[title].splitlines() == matrix.golden_sections()[title].splitlines()


@pytest.mark.req("SEC-4")
def test_no_actor_reaches_a_neighbours_row_but_those_with_a_reason() -> None:
    reaching = set()
    for text in matrix.golden_sections().values():
        head, *rows = text.splitlines()[1:]
        neighbours = [n for n, name in enumerate(head.split()) if name.endswith(":nbr")]
        for row in rows:
            cells = row.split()[-len(head.split()) :]
            if any(cells[n] == "yes" for n in neighbours):
                reaching.add(row.partition("  ")[0])
    assert reaching == _ALL_TENANTS.keys()


@pytest.mark.req("SEC-4")
def test_every_route_table_role_and_tool_is_in_the_matrix(cluster: Cluster) -> None:
    golden = matrix.golden_sections()
    assert matrix.missing(golden[matrix.ROUTES], map(str, served_operations())) == []
    assert matrix.missing(golden[matrix.TOOLS], TOOL_NAMES) == []
    assert matrix_routes.bodies_of_nothing() == []
    database = cluster.create_database()
    try:
        arena = build(cluster, database)
        with arena.admin() as admin:
            roles = [role for (role,) in admin.execute(_ROLES).fetchall()]
        actors = matrix_tables.doors(arena)
        names = {f"{t} {actor}" for t in matrix_tables.columns_of(arena) for actor in actors}
        assert matrix.missing(golden[matrix.TABLES], names) == []
        assert matrix.rows_of(golden[matrix.TABLES]) == names
    finally:
        cluster.drop_database(database)
    assert roles == [
        f"tenantry_{name}"
        for name in ("app", "audit", "auth", "breakglass", "ledger", "operator", "queue")
    ]


@pytest.mark.req("SEC-4")
def test_a_table_added_tomorrow_is_missed(cluster: Cluster) -> None:
    database = cluster.create_database()
    try:
        arena = build(cluster, database)
        with arena.admin() as admin:
            admin.execute("CREATE TABLE tenantry.gadgets (tenant_id uuid PRIMARY KEY)")
        names = [f"{table} acme" for table in matrix_tables.columns_of(arena)]
        golden = matrix.golden_sections()[matrix.TABLES]
        assert matrix.missing(golden, names) == ["gadgets acme"]
    finally:
        cluster.drop_database(database)


@pytest.mark.req("SEC-4")
def test_a_route_added_tomorrow_is_missed() -> None:
    app: FastAPI = build_resources(None)

    @app.get("/v1/gadgets/{gadget_id}")
    def gadget(gadget_id: str) -> str:
        return gadget_id

    golden = matrix.golden_sections()[matrix.ROUTES]
    names = [str(operation) for operation in operations_of(app.openapi())]
    assert matrix.missing(golden, names) == ["GET /v1/gadgets/{gadget_id}"]


@pytest.mark.req("SEC-4", "SEC-3")
def test_a_tool_added_tomorrow_is_missed() -> None:
    golden = matrix.golden_sections()[matrix.TOOLS]
    assert matrix.missing(golden, [*TOOL_NAMES, "send_mail"]) == ["send_mail"]
    with pytest.raises(KeyError, match="send_mail"):
        call_of("send_mail", Source("d", "c", "a", "r", "q"))
