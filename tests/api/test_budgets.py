"""Budgets by HTTP: set, held to, told of; the plan is the operator's, and a tenant sees its own."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from tenantry.cli.main import cli
from tests.service import ApiClient, Service
from tests.worlds import Cluster

served_once = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    async with Service.create(cluster, tmp_path_factory.mktemp("budgets")) as service:
        yield service


async def _put(client: ApiClient, path: str = "/v1/budgets", **body: object) -> dict[str, object]:
    answer = await client.call("PUT", path, json=body)
    assert answer.status == 200, answer
    found: dict[str, object] = answer.body
    return found


@pytest.mark.req("LIM-1", "COST-5")
@served_once
async def test_a_call_beyond_a_budget_gets_429_and_its_neighbour_an_answer(
    served: Service,
) -> None:
    await _put(served.acme, unit="requests", period="day", hard_limit=1000)
    assert (await served.acme.ask("What is there?")).status == 200
    line = (await served.acme.get("/v1/budgets")).body["data"][0]
    made = line["used"] + line["held"]  # one question takes several calls
    stored = await _put(served.acme, unit="requests", period="day", hard_limit=made, soft_limit=1)
    for _ in range(made + 1):  # what was held for a while may be used up first
        refused = await served.acme.ask("What is there?")
        if refused.status != 200:
            break
    assert refused.status == 429
    assert refused.body["code"] == "budget_exhausted"
    assert refused.body["budget"]["id"] == stored["id"]
    assert refused.body["budget"]["remaining"] == 0
    assert int(refused.headers["retry-after"]) > 0
    policy = f'"tenant-requests-day";q={made};w=86400;qu="requests"'
    assert refused.headers["ratelimit-policy"] == policy
    assert refused.headers["ratelimit"].startswith('"tenant-requests-day";r=0;t=')
    assert (await served.globex.ask("What is there?")).status == 200
    line = (await served.acme.get("/v1/budgets")).body["data"][0]
    assert (line["used"] + line["held"], line["remaining"]) == (made, 0)
    alerts = (await served.acme.get("/v1/alerts")).body["data"]
    assert {alert["mark"] for alert in alerts} == {"soft", "50", "80", "100"}
    assert (await served.globex.get("/v1/alerts")).body["data"] == []
    assert (await served.acme.delete(f"/v1/budgets/{stored['id']}")).status == 204
    assert (await served.acme.ask("What is there?")).status == 200


@pytest.mark.req("LIM-1")
@served_once
async def test_the_plan_is_the_operators_and_a_tenant_only_sees_it(served: Service) -> None:
    path = "/v1/tenants/globex/budgets"
    stored = await _put(served.operator, path, unit="cost", period="month", hard_limit=10**12)
    shown = (await served.globex.get("/v1/budgets")).body["data"]
    assert [(line["id"], line["set_by"]) for line in shown] == [(stored["id"], "operator")]
    assert (await served.globex.delete(f"/v1/budgets/{stored['id']}")).status == 404
    # A budget of its own on the same use stands beside the plan's, and both hold.
    await _put(served.globex, unit="cost", period="month", hard_limit=10**15)
    assert len((await served.globex.get("/v1/budgets")).body["data"]) == 2
    assert (await served.operator.get(path)).body["data"][0]["hard_limit"] == 10**12
    zone = await served.operator.call(
        "PUT", "/v1/tenants/globex/time-zone", json={"time_zone": "Asia/Kolkata"}
    )
    assert zone.status == 200
    resets = (await served.globex.get("/v1/budgets")).body["data"][0]["resets_at"]
    assert "T18:30:00" in resets  # midnight there
    assert (await served.operator.delete(f"{path}/{stored['id']}")).status == 204


@pytest.mark.req("LIM-1")
@served_once
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"hard_limit": -1},
        {"hard_limit": 10**18},
        {"hard_limit": 1, "unit": "bananas"},
        {"hard_limit": 1, "period": "year"},
        {"hard_limit": 1, "scope": "member", "subject": "nobody"},
        {"hard_limit": 1, "scope": "tenant", "subject": "acme"},
        {"soft_limit": 1, "grace": 5},
        {"hard_limit": 1, "alerts": [0]},
        {"hard_limit": 1, "tenant_id": "globex"},
    ],
)
async def test_a_budget_that_cannot_be_is_refused_with_the_fault(
    served: Service, body: dict[str, object]
) -> None:
    answer = await served.acme.call("PUT", "/v1/budgets", json=body)
    assert answer.status in {400, 403, 422}, answer
    assert answer.body["detail"]


@pytest.mark.req("LIM-1")
@served_once
async def test_a_time_zone_that_is_none_is_refused(served: Service) -> None:
    path = "/v1/tenants/acme/time-zone"
    answer = await served.operator.call("PUT", path, json={"time_zone": "Nowhere/Land"})
    assert (answer.status, answer.body["code"]) == (400, "invalid_request")


@pytest.mark.req("LIM-1")
@served_once
async def test_weights_are_set_for_a_model(served: Service) -> None:
    body = {"provider": "openai", "model": "gpt-5", "output": 8000}
    assert (await served.operator.call("PUT", "/v1/operator/weights", json=body)).status == 200
    listed = (await served.operator.get("/v1/operator/weights")).body["data"]
    assert [(row["model"], row["output"]) for row in listed] == [("gpt-5", 8000)]


async def _tenantry(served: Service, credential: ApiClient, *words: str) -> Result:
    env = {
        "TENANTRY_BASE_URL": served.base_url,
        "TENANTRY_API_KEY": credential.credential,
        "TENANTRY_OPERATOR_KEY": served.operator.credential,
    }
    run = partial(CliRunner().invoke, cli, ["budget", *words], env=env)
    return await asyncio.to_thread(run)


@pytest.mark.req("LIM-1", "COST-5")
@served_once
async def test_the_command_line_sets_lists_and_removes(served: Service) -> None:
    words = ("set", "--unit", "cost", "--per", "month", "--limit", "25.50", "--json")
    mine = await _tenantry(served, served.globex, *words)
    assert mine.exit_code == 0, mine.output
    stored = json.loads(mine.output)
    assert (stored["hard_limit"], stored["set_by"]) == (25_500_000_000_000, "tenant")
    plan = await _tenantry(
        served, served.globex, "set", "--scope", "member", "--limit", "1000", "--tenant", "globex"
    )
    assert plan.exit_code == 0, plan.output
    listed = (await _tenantry(served, served.globex, "list")).output
    assert stored["id"] in listed
    assert "operator" in listed
    assert "(nothing)" in (await _tenantry(served, served.globex, "alerts")).output
    gone = await _tenantry(served, served.globex, "remove", stored["id"])
    assert gone.output == "Removed.\n"
    again = await _tenantry(served, served.globex, "remove", stored["id"])
    assert (again.exit_code, "404" in again.output) == (1, True)
    wrong = await _tenantry(served, served.globex, "set", "--limit", "many")
    assert "is no number" in wrong.output


@pytest.mark.req("LIM-1", "COST-5")
@served_once
async def test_grace_soft_limit_and_alerts_are_set_and_seen_by_the_command_line(
    served: Service,
) -> None:
    words = ("set", "--unit", "requests", "--per", "month", "--limit", "1", "--json")
    more = ("--soft", "1", "--grace", "1000", "--alert", "100")
    stored = await _tenantry(served, served.acme, *words, *more)
    assert stored.exit_code == 0, stored.output
    for _ in range(2):
        assert (await served.acme.ask("What is there?")).status == 200  # on grace
    told = (await _tenantry(served, served.acme, "alerts", "--json")).output
    found = {(a["mark"], a["budget_id"]) for a in json.loads(told)}
    budget_id = json.loads(stored.output)["id"]
    assert {("soft", budget_id), ("100", budget_id)} <= found
    assert (await _tenantry(served, served.acme, *words)).exit_code == 0
    refused = await served.acme.ask("What is there?")
    assert (refused.status, refused.body["budget"]["limit"]) == (429, 1)
    gone = await _tenantry(served, served.acme, "remove", budget_id)
    assert gone.exit_code == 0, gone.output
    assert (await served.acme.ask("What is there?")).status == 200
