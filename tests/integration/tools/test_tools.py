"""Each tool gives the session's own tenant what it has, in the form that answerers read."""

from typing import Any
from uuid import UUID

import pytest

from tenantry.connectors.catalog import NewConnector
from tenantry.connectors.file_store import TableUpload
from tenantry.tools.base import Citation
from tenantry.tools.executor import Executed
from tenantry.tools.toolbox import TOOL_NAMES
from tests.integration.tools.conftest import CANARY, QUESTION, Workshop


def content(executed: Executed) -> Any:
    """The result of a call that went well."""
    assert executed.outcome == "ok", executed.result.content
    assert not executed.result.is_error
    return executed.result.content


@pytest.mark.req("SEC-3", "VEC-3")
async def test_search_documents_gives_passages_with_references_and_citations(
    workshop: Workshop,
) -> None:
    tools = workshop.tools(workshop.world.acme)
    executed = await workshop.call(tools, "search_documents", query="return goods within days")
    (passage,) = content(executed)["passages"]
    assert set(passage) == {"ref", "title", "heading", "page", "text", "score"}
    assert passage["ref"] == "doc:1"
    assert passage["title"] == "handbook.md"
    assert "14 days" in passage["text"]
    assert 0 < passage["score"] <= 1
    (citation,) = executed.result.citations
    assert (citation.ref, citation.kind, citation.title) == ("doc:1", "document", "handbook.md")
    assert str(UUID(citation.document_id)) == citation.document_id
    assert citation.document_id not in str(executed.result.content)
    assert executed.usage.rows == 1


@pytest.mark.req("CON-2")
async def test_list_data_gives_connectors_and_tables(workshop: Workshop) -> None:
    await workshop.services.catalog.create(workshop.world.acme, NewConnector("empty", "files"))
    executed = await workshop.call(workshop.tools(workshop.world.acme), "list_data")
    assert content(executed) == {
        "connectors": [
            {
                "name": "warehouse",
                "kind": "files",
                "tables": [{"name": "sales", "rows": 2, "description": "Sales, acme."}],
            },
            {
                "name": "orders",
                "kind": "http",
                "operations": [
                    {"name": "listOrders", "effect": "read", "description": "All orders."}
                ],
            },
            {"name": "empty", "kind": "files", "tables": []},
        ]
    }


@pytest.mark.req("CON-2")
async def test_describe_data_gives_columns_with_types_and_meanings(workshop: Workshop) -> None:
    tools = workshop.tools(workshop.world.acme)
    executed = await workshop.call(tools, "describe_data", connector="warehouse", table="sales")
    assert content(executed) == {
        "connector": "warehouse",
        "table": "sales",
        "rows": 2,
        "columns": [
            {"name": "month", "type": "VARCHAR", "description": ""},
            {"name": "sold", "type": "BIGINT", "description": "pieces"},
            {"name": "note", "type": "VARCHAR", "description": ""},
        ],
    }


@pytest.mark.req("CON-3")
async def test_query_data_gives_rows_and_the_statement_that_ran(workshop: Workshop) -> None:
    tools = workshop.tools(workshop.world.acme)
    sql = "select month, sold from sales order by sold desc -- best first"
    executed = await workshop.call(tools, "query_data", connector="warehouse", sql=sql)
    ran = "SELECT month, sold FROM sales ORDER BY sold DESC LIMIT 201"
    assert content(executed) == {
        "ref": "query:1",
        "columns": ["month", "sold"],
        "rows": [["May", 9], ["June", 3]],
        "row_count": 2,
        "truncated": False,
        "sql": ran,
    }
    assert executed.result.citations == (Citation("query:1", "query", "warehouse", ran, 0, 2),)
    assert executed.usage.rows == 2
    assert executed.usage.tool == "query_data"
    assert executed.usage.connector_id == workshop.acme_data.connector
    assert executed.usage.size_bytes > 50


@pytest.mark.req("CON-3")
async def test_query_data_cuts_what_is_too_long_for_a_model(workshop: Workshop) -> None:
    tools = workshop.tools(workshop.world.acme)
    for sql, rows in (
        ("SELECT range FROM range(10000)", 200),
        ("SELECT lpad('x', 1000, 'y') FROM range(100)", 39),
    ):
        executed = await workshop.call(tools, "query_data", connector="warehouse", sql=sql)
        found = content(executed)
        assert (found["row_count"], found["truncated"]) == (rows, True)
        assert executed.usage.size_bytes <= 65_536


@pytest.mark.req("MEM-1")
async def test_recall_gives_the_tenants_own_verified_query(workshop: Workshop) -> None:
    tools = workshop.tools(workshop.world.acme)
    executed = await workshop.call(tools, "recall_verified_query", question=QUESTION)
    match = content(executed)["match"]
    assert match == {
        "ref": "verified:1",
        "question": QUESTION,
        "similarity": pytest.approx(1.0, abs=0.001),
        "connector": "warehouse",
        "sql": "SELECT month FROM sales WHERE note = 'acme'",
    }
    executed = await workshop.call(
        tools, "query_data", connector=match["connector"], sql=match["sql"]
    )
    assert content(executed)["rows"] == [["May"]]


@pytest.mark.req("MEM-1")
async def test_recall_gives_nothing_where_nothing_was_taught(workshop: Workshop) -> None:
    (pattern,) = await workshop.services.patterns.list_patterns(
        workshop.world.acme, UUID(int=0), 10
    )
    await workshop.services.patterns.remove(workshop.world.acme, pattern.pattern_id)
    tools = workshop.tools(workshop.world.acme)
    executed = await workshop.call(tools, "recall_verified_query", question=QUESTION)
    assert content(executed) == {"match": None}


@pytest.mark.req("SEC-3")
async def test_no_tool_ever_gives_the_neighbours_words(workshop: Workshop) -> None:
    tools = workshop.tools(workshop.world.acme)
    theirs = workshop.tools(workshop.world.globex)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("search_documents", {"query": f"return goods within 21 days, says {CANARY}", "limit": 20}),
        ("list_data", {}),
        ("describe_data", {"connector": "warehouse", "table": "sales"}),
        ("query_data", {"connector": "warehouse", "sql": "SELECT * FROM sales"}),
        ("describe_api", {"connector": "orders", "operation": "listOrders"}),
        ("call_api", {"connector": "orders", "operation": "listOrders"}),
        (
            "make_chart",
            {
                "connector": "warehouse",
                "sql": "SELECT month, sold, note FROM sales",
                "kind": "bar",
                "x": "note",
                "y": "sold",
                "title": "Sales",
            },
        ),
        ("recall_verified_query", {"question": QUESTION}),
    ]
    assert [name for name, _ in calls] == list(TOOL_NAMES)
    for name, arguments in calls:
        ours = await workshop.call(tools, name, **arguments)
        assert CANARY not in str(content(ours)), name
        assert CANARY not in str((ours.result.citations, ours.result.attachments)), name
        if name not in {"describe_data", "describe_api"}:
            found = await workshop.call(theirs, name, **arguments)
            assert CANARY in str((content(found), found.result.attachments)), (
                f"{name}: a test that could not fail"
            )


@pytest.mark.req("SEC-3")
async def test_a_foreign_name_and_an_unknown_one_get_the_same_answer(workshop: Workshop) -> None:
    world = workshop.world
    hidden = (
        await workshop.services.catalog.create(world.globex, NewConnector("hidden", "files"))
    ).config
    await workshop.files.add(world.globex, hidden.connector, TableUpload("t", b"a\n1\n"))
    tools = workshop.tools(world.acme)
    for name, arguments in (
        ("describe_data", {"table": "t"}),
        ("query_data", {"sql": "SELECT * FROM t"}),
    ):
        foreign = await workshop.call(tools, name, connector="hidden", **arguments)
        unknown = await workshop.call(tools, name, connector="nothing", **arguments)
        assert foreign.result.content == unknown.result.content
        assert (foreign.outcome, unknown.outcome) == ("error", "error")


@pytest.mark.req("SEC-3")
async def test_no_result_shows_a_raw_id(workshop: Workshop) -> None:
    world = workshop.world
    tools = workshop.tools(world.acme)
    shown = ""
    for name, arguments in (
        ("search_documents", {"query": "refunds"}),
        ("list_data", {}),
        ("query_data", {"connector": "warehouse", "sql": "SELECT * FROM sales"}),
        ("recall_verified_query", {"question": QUESTION}),
    ):
        shown += str((await workshop.call(tools, name, **arguments)).result.content)
    with world.admin() as admin:
        ids = admin.execute(
            "SELECT tenant_id FROM tenantry.tenants"
            " UNION SELECT document_id FROM tenantry.documents"
            " UNION SELECT connector_id FROM tenantry.connectors"
            " UNION SELECT pattern_id FROM tenantry.patterns"
            " UNION SELECT member_id FROM tenantry.members"
        ).fetchall()
    assert len(ids) >= 10
    assert not any(str(each) in shown for (each,) in ids)


@pytest.mark.req("CON-2")
async def test_one_source_that_fails_does_not_hide_the_others(workshop: Workshop) -> None:
    world = workshop.world
    with world.admin() as admin:
        admin.execute(
            "INSERT INTO tenantry.connectors (tenant_id, connector_id, name, kind)"
            " VALUES (%s, gen_random_uuid(), 'gone', 'oracle')",
            [world.acme.tenant],
        )
    listed = content(await workshop.call(workshop.tools(world.acme), "list_data"))["connectors"]
    by_name = {connector["name"]: connector for connector in listed}
    assert by_name["warehouse"]["tables"]
    assert by_name["gone"]["tables"] == []
    assert "oracle" in by_name["gone"]["note"]


@pytest.mark.req("CON-2")
async def test_a_list_of_very_many_tables_is_shortened_and_says_so(workshop: Workshop) -> None:
    with workshop.world.admin() as admin:
        for number in range(8):
            admin.execute(
                "WITH c AS (INSERT INTO tenantry.connectors (tenant_id, connector_id, name, kind)"
                " VALUES (%(t)s, gen_random_uuid(), %(n)s, 'files') RETURNING connector_id)"
                " INSERT INTO tenantry.data_files (tenant_id, connector_id, table_name, sha256,"
                " stored_sha256, size_bytes, row_count, columns, description, created_by)"
                " SELECT %(t)s, connector_id, 'table_' || i, sha256('a'), sha256('b'), 1, 1, '[]',"
                " repeat('d', 2000), gen_random_uuid() FROM c, generate_series(1, 199) AS i",
                {"t": workshop.world.acme.tenant, "n": f"many-{number}"},
            )
    executed = await workshop.call(workshop.tools(workshop.world.acme), "list_data")
    listed = content(executed)["connectors"]
    assert len(listed) == 10
    assert all(each.get("tables") or each["operations"] for each in listed)
    assert listed[-1]["note"].endswith("describe_data knows them.")
    assert executed.usage.size_bytes <= 40_000


@pytest.mark.req("CON-2")
async def test_a_table_of_very_many_columns_is_described_whole(workshop: Workshop) -> None:
    names = [f"column_number_{number}" for number in range(900)]
    table = ",".join(names) + "\n" + ",".join("1" for _ in names) + "\n"
    upload = TableUpload("wide", table.encode(), "", dict.fromkeys(names, "d" * 2000))
    await workshop.files.add(workshop.world.acme, workshop.acme_data.connector, upload)
    tools = workshop.tools(workshop.world.acme)
    executed = await workshop.call(tools, "describe_data", connector="warehouse", table="wide")
    assert [column["name"] for column in content(executed)["columns"]] == names


@pytest.mark.req("SEC-3")
async def test_references_are_the_sessions_own(workshop: Workshop) -> None:
    first, second = (workshop.tools(workshop.world.acme) for _ in range(2))
    query = {"connector": "warehouse", "sql": "SELECT 1 AS one"}
    other = {"connector": "warehouse", "sql": "SELECT 2 AS two"}
    refs = [
        content(await workshop.call(tools, "query_data", **arguments))["ref"]
        for tools, arguments in ((first, query), (first, other), (first, query), (second, other))
    ]
    assert refs == ["query:1", "query:2", "query:1", "query:1"]


@pytest.mark.req("COST-2")
@pytest.mark.parametrize("sql", ["DROP TABLE sales", "SELECT nothing FROM sales"])
async def test_time_spent_on_a_query_that_failed_counts_for_its_connector(
    workshop: Workshop, sql: str
) -> None:
    tools = workshop.tools(workshop.world.acme)
    executed = await workshop.call(tools, "query_data", connector="warehouse", sql=sql)
    assert executed.result.is_error
    assert executed.usage.connector_id == workshop.acme_data.connector


@pytest.mark.req("SEC-2", "USE-4")
async def test_make_chart_gives_the_member_a_chart_and_the_model_a_reference(
    workshop: Workshop,
) -> None:
    tools = workshop.tools(workshop.world.acme)
    asked = {
        "connector": "warehouse",
        "sql": "SELECT month, sold FROM sales ORDER BY sold",
        "kind": "bar",
        "x": "month",
        "y": "sold",
        "title": "Sold by month",
    }
    executed = await workshop.call(tools, "make_chart", **asked)
    shown = content(executed)
    assert (shown["ref"], shown["chart"], shown["rows"]) == ("query:1", "chart:1", 2)
    assert "spec" not in shown
    (drawn,) = executed.result.attachments
    assert (drawn.ref, drawn.kind, drawn.title) == ("chart:1", "chart", "Sold by month")
    assert drawn.spec is not None
    assert drawn.spec["data"] == {"values": [{"x": "June", "y": 3}, {"x": "May", "y": 9}]}
    assert executed.usage.connector_id == workshop.acme_data.connector


@pytest.mark.req("SEC-2")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": "month"}, "no numbers"),
        ({"x": "year"}, "no column year. Its columns: month, sold"),
        ({"sql": "SELECT month, sold FROM sales WHERE sold > 99"}, "no rows"),
        ({"sql": "DELETE FROM sales"}, "SELECT"),
        ({"kind": "vega"}, "kind"),
    ],
)
async def test_a_chart_that_cannot_be_drawn_says_what_to_mend(
    workshop: Workshop, change: dict[str, str], message: str
) -> None:
    asked = {
        "connector": "warehouse",
        "sql": "SELECT month, sold FROM sales",
        "kind": "bar",
        "x": "month",
        "y": "sold",
        "title": "Sold",
    }
    tools = workshop.tools(workshop.world.acme)
    executed = await workshop.call(tools, "make_chart", **{**asked, **change})
    assert executed.result.is_error
    assert message in str(executed.result.content)
    assert executed.result.attachments == ()


@pytest.mark.req("CON-3")
async def test_a_download_keeps_every_row_and_shows_the_first(workshop: Workshop) -> None:
    world = workshop.world
    table = "n,text\n" + "".join(f"{n},{'x' * 50}\n" for n in range(3000))
    upload = TableUpload("long", table.encode(), "")
    await workshop.files.add(world.acme, workshop.acme_data.connector, upload)
    tools = workshop.tools(world.acme)
    executed = await workshop.call(
        tools, "query_data", connector="warehouse", sql="SELECT * FROM long", download=True
    )
    shown = content(executed)
    assert (shown["row_count"], shown["rows_shown"], len(shown["rows"])) == (3000, 20, 20)
    assert (shown["file"], shown["truncated"]) == ("file:1", False)
    (kept,) = executed.result.attachments
    assert kept.result_id not in str(executed.result.content)
    text = await workshop.services.results.content(world.acme, UUID(kept.result_id))
    assert len(text.splitlines()) == 3001


@pytest.mark.req("CON-1", "SEC-3")
async def test_an_operation_is_described_called_cited_and_metered(workshop: Workshop) -> None:
    tools = workshop.tools(workshop.world.acme)
    named = {"connector": "orders", "operation": "listOrders"}
    described = content(await workshop.call(tools, "describe_api", **named))
    assert (described["effect"], described["description"]) == ("read", "All orders.")
    assert described["arguments"]["additionalProperties"] is False
    executed = await workshop.call(tools, "call_api", **named)
    found = content(executed)
    assert found["ref"] == "call:1"
    assert found["answer"]["status"] == 200
    assert found["answer"]["body"] == {"orders": [{"of": "/acme/orders"}]}
    (citation,) = executed.result.citations
    assert (citation.ref, citation.kind, citation.title) == ("call:1", "call", "orders")
    assert citation.locator == "listOrders {}"
    assert executed.usage.connector_id is not None


@pytest.mark.req("SEC-3")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("[]", "JSON object"),
        ("{", "valid JSON"),
        ('{"a":' * 20 + "1" + "}" * 20, "nested"),
        ('{"tenant_id": "globex"}', "tenant_id"),
    ],
)
async def test_arguments_that_do_not_fit_an_operation_reach_nothing(
    workshop: Workshop, arguments: str, message: str
) -> None:
    tools = workshop.tools(workshop.world.acme)
    executed = await workshop.call(
        tools, "call_api", connector="orders", operation="listOrders", arguments=arguments
    )
    assert executed.result.is_error
    assert message in str(executed.result.content)
    if "tenant_id" in arguments:
        (event,) = await workshop.refusals(workshop.world.acme)
        assert "tenant_id" in str(event["detail"])
