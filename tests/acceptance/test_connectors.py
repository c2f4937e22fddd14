"""A tenant's own database, from `tenantry connector add` to an assistant's answer with its chart.

Real servers, the real HTTP server, the real command line; the model alone is scripted.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.databases import Database, on_mariadb, on_postgres
from tests.api.conftest import providers_file
from tests.providers.replies import CallOf, Reply
from tests.providers.scripted import ScriptedProvider
from tests.service import ApiClient, Service
from tests.sources.mariadb import MariaDB, mariadb_server, needs_mariadb
from tests.sources.postgres import PostgresServer, postgres_server
from tests.worlds import Cluster

_BY_REGION = "SELECT region, sum(total) AS sold FROM orders GROUP BY region ORDER BY region"
PASSWORD = "s3cret-of-acme-7Q9X"


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariaDB]:
    """A tenant's MariaDB server."""
    with mariadb_server() as server:
        yield server


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A tenant's PostgreSQL server."""
    with postgres_server() as server:
        yield server


@pytest.fixture(params=[pytest.param("mysql", marks=needs_mariadb), "postgres"])
def database(request: pytest.FixtureRequest) -> Database:
    """A database on one of them, with a login that may read it."""
    open_: Callable[[Any], Database] = on_mariadb if request.param == "mysql" else on_postgres
    return open_(request.getfixturevalue({"mysql": "mariadb"}.get(request.param, request.param)))


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    """The model's server."""
    with ScriptedProvider() as provider:
        yield provider


@pytest.fixture
async def service(
    cluster: Cluster, tmp_path: Path, provider: ScriptedProvider
) -> AsyncIterator[Service]:
    """A platform that may reach this machine's databases, and its models."""
    path = providers_file(tmp_path, provider)
    async with Service.create(cluster, tmp_path, path, egress_allow="127.0.0.0/8") as service:
        yield service


async def run_command(
    client: ApiClient, *arguments: str, key: str = "TENANTRY_API_KEY", **secrets: str
) -> str:
    """Run the command line with the client's credential; what it prints."""
    environment = {
        "PATH": os.environ["PATH"], "TENANTRY_BASE_URL": client.base_url, key: client.credential,
        **secrets,
    }  # fmt: skip
    command = [sys.executable, "-m", "tenantry", *arguments]
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def tenantry(client: ApiClient, *arguments: str, **secrets: str) -> Any:
    """Run a command over connectors as a tenant's admin; the JSON it prints."""
    said = await run_command(client, "connector", *arguments, **secrets)
    return json.loads(said) if said.startswith(("{", "[")) else said


async def added(client: ApiClient, folder: Path, database: Database) -> Any:
    """The connector `shop`, added on the command line; the password comes from the environment."""
    options = folder / "options.json"
    options.write_text(json.dumps(dict(database.options)))
    return await tenantry(
        client, "add", "shop", database.kind, "--options", str(options),
        "--secret-env", "password=SHOP_PASSWORD", "--json", SHOP_PASSWORD=database.password,
    )  # fmt: skip


@pytest.mark.req("CON-1", "CON-2", "CON-3", "USE-3", "COST-2")
async def test_a_database_is_connected_looked_at_and_asked_on_the_command_line(
    service: Service, database: Database, tmp_path: Path
) -> None:
    shop = await added(service.acme, tmp_path, database)
    assert (shop["kind"], shop["credential_version"]) == (database.kind, 1)
    assert database.password not in json.dumps(shop)
    assert (await tenantry(service.acme, "test", "shop", "--json"))["ok"] is True
    (table,) = (await tenantry(service.acme, "schema", "shop", "--json"))["tables"]
    assert [column["name"] for column in table["columns"]] == ["id", "region", "total"]
    found = await tenantry(service.acme, "query", "shop", _BY_REGION, "--json")
    assert found["rows"] == [["north", "150.50"], ["south", "99.00"]]
    kept = tmp_path / "all.csv"
    await tenantry(service.acme, "query", "shop", "SELECT * FROM orders", "--output", str(kept))
    assert len(kept.read_text().splitlines()) == 4
    usage = (await service.acme.get("/v1/usage?by=connector")).body["lines"]
    assert [(line["key"], line["calls"]) for line in usage] == [(shop["id"], 2)]


@pytest.mark.req("CON-1", "CON-3", "USE-1", "USE-4")
async def test_an_assistant_answers_over_the_database_with_its_sql_and_a_chart(
    service: Service, provider: ScriptedProvider, database: Database, tmp_path: Path
) -> None:
    await added(service.acme, tmp_path, database)
    body = {"name": "shopper", "instructions": "Be brief.", "model": "scripted/scripted-1"}
    assert (await service.acme.post("/v1/assistants", body)).status == 201
    drawn = {
        "connector": "shop", "sql": _BY_REGION, "kind": "bar", "x": "region", "y": "sold",
        "title": "Sold by region",
    }  # fmt: skip
    provider.queue(
        Reply(
            calls=(CallOf("query_data", '{"connector":"shop","sql":"SELECT nope FROM orders"}'),)
        ),
        Reply(calls=(CallOf("query_data", json.dumps({"connector": "shop", "sql": _BY_REGION})),)),
        Reply(calls=(CallOf("make_chart", json.dumps(drawn)),)),
        Reply("The north sold 150.50 [query:1]."),
    )
    answer = (await service.acme.ask("What sold best?", "shopper")).body
    facts = answer["tenantry"]
    (citation,) = facts["citations"]
    assert "sum(total)" in citation["locator"].lower()
    assert citation["end"] == 2
    (chart,) = facts["attachments"]
    values = chart["spec"]["data"]["values"]
    assert values == [{"x": "north", "y": 150.5}, {"x": "south", "y": 99.0}]
    shown = "\n".join(provider.prompts)
    assert "150.50" in shown
    assert "nope" in shown  # the mistake came back to the model, which then mended it
    assert database.password not in shown
    path = f"/v1/conversations/{facts['conversation_id']}"
    stored = (await service.acme.get(path)).body["messages"][-1]
    assert [each["ref"] for each in stored["attachments"]] == ["chart:1"]


@pytest.mark.req("CON-3", "SEC-4", "POOL-2")
async def test_what_is_outside_the_access_pattern_or_the_tenant_is_refused_and_recorded(
    service: Service, database: Database, tmp_path: Path
) -> None:
    shop = await added(service.acme, tmp_path, database)
    path = f"/v1/connectors/{shop['id']}/query"
    refused = await service.acme.post(path, {"sql": "SELECT amount FROM salaries"})
    assert (refused.status, refused.body["code"]) == (422, "query_refused")
    log = (await service.acme.get("/v1/audit?outcome=refused")).body["data"]
    assert log[0]["action"] == "query.refused"
    assert "salaries" in str(log[0]["detail"])
    theirs = await service.globex.post(path, {"sql": "SELECT * FROM orders"})
    assert theirs.status == 404


@pytest.mark.req("POOL-2", "POOL-4")
async def test_a_rotated_password_is_used_at_once_and_another_host_needs_it_anew(
    service: Service, database: Database, tmp_path: Path
) -> None:
    shop = await added(service.acme, tmp_path, database)
    path = f"/v1/connectors/{shop['id']}"
    wrong = await service.acme.call("PATCH", path, json={"secrets": {"password": "wrong"}})
    assert wrong.status == 422
    assert (await service.acme.post(f"{path}/query", {"sql": _BY_REGION})).status == 200
    database.rotate(PASSWORD)
    changed = await service.acme.call("PATCH", path, json={"secrets": {"password": PASSWORD}})
    assert (changed.status, changed.body["credential_version"]) == (200, 2)
    assert (await service.acme.post(f"{path}/query", {"sql": _BY_REGION})).status == 200
    elsewhere = {**database.options, "host": "evil.example"}
    moved = await service.acme.call("PATCH", path, json={"options": elsewhere})
    assert (moved.status, moved.body["code"]) == (400, "invalid_request")
    assert "secrets again" in moved.body["detail"]


@pytest.mark.req("CON-3")
async def test_a_query_whose_client_has_left_is_stopped_at_the_server(
    service: Service, provider: ScriptedProvider, database: Database, tmp_path: Path
) -> None:
    offered = {**database.options, "access": {"tables": {"slow": "*"}}}
    shop = await added(service.acme, tmp_path, replace(database, options=offered))
    body = {"name": "shopper", "instructions": "Be brief.", "model": "scripted/scripted-1"}
    assert (await service.acme.post("/v1/assistants", body)).status == 201
    asked = json.dumps({"connector": "shop", "sql": "SELECT SUM(TAN(n)) FROM slow"})
    provider.queue(Reply(calls=(CallOf("query_data", asked),)))
    direct = {"sql": "SELECT SUM(SIN(n)) FROM slow"}
    for mark, work in (
        ("SIN(", service.acme.post(f"/v1/connectors/{shop['id']}/query", direct)),
        ("TAN(", service.acme.ask("What is slow?", "shopper")),
    ):
        client = asyncio.create_task(work)
        assert await database.server.comes_true(mark, running=True)
        client.cancel()  # closes its connection
        await asyncio.wait([client])
        assert await database.server.comes_true(mark, running=False)
    levels = (await service.operator.get("/v1/operator/pools")).body["levels"]
    assert (levels["hybrid"]["leased"], levels["hybrid"]["discarded"]) == (0, 2)


@pytest.mark.req("POOL-3", "USE-3")
async def test_the_operator_sees_what_the_pools_do_and_nothing_of_whose(
    service: Service, database: Database, tmp_path: Path
) -> None:
    shop = await added(service.acme, tmp_path, database)
    for _ in range(2):
        await service.acme.post(f"/v1/connectors/{shop['id']}/query", {"sql": _BY_REGION})
    seen = await service.operator.get("/v1/operator/pools")
    level = seen.body["levels"]["hybrid"]
    assert (seen.body["open"], seen.body["waiting"], level["idle"]) == (1, 0, 1)
    # The schema, then two questions; the first of the three dialled.
    assert (level["acquired"], level["connected"], level["reused"]) == (3, 1, 2)
    assert {figures["violated"] for figures in seen.body["levels"].values()} == {0}
    for name in (shop["id"], database.options["user"], service.tenants["acme"]["tenant"]["id"]):
        assert name not in seen.raw.decode()
    assert (await service.acme.get("/v1/operator/pools")).status == 401
    minting = await service.platform.operators.create_key("backend", ["tokens:mint"])
    assert (await service.client(minting.reveal()).get("/v1/operator/pools")).status == 403
    done = await run_command(service.operator, "pools", key="TENANTRY_OPERATOR_KEY")
    assert "violated" in done
    assert "1 of at most 100 open" in done


@pytest.mark.req("POOL-4")
async def test_no_secret_is_found_where_the_platform_keeps_or_says_anything(
    service: Service, database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    shop = await added(service.acme, tmp_path, database)
    await service.acme.post(f"/v1/connectors/{shop['id']}/query", {"sql": _BY_REGION})
    await service.acme.post(f"/v1/connectors/{shop['id']}/query", {"sql": "SELECT secret"})
    secret = database.password
    seen = [
        (await service.acme.get(path)).raw.decode()
        for path in ("/v1/connectors", "/v1/audit?limit=1000", "/v1/usage/events")
    ]
    with service.admin() as admin:
        tables = admin.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname LIKE 'tenantry%'"
        ).fetchall()
        for (table,) in tables:
            rows = admin.execute(f"SELECT t::text FROM {table} AS t").fetchall()
            seen += [text for (text,) in rows]
            assert not any(secret.encode().hex() in text for (text,) in rows), table
    seen.append(caplog.text)
    assert not [text for text in seen if secret in text]
    proc = Path("/proc/self")
    for part in ("environ", "cmdline"):
        assert secret.encode() not in (proc / part).read_bytes()
