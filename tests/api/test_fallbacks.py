"""Pools of the platform's accounts, tenants' model policies, and calls that go out again."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from click.testing import CliRunner

from tenantry.cli.model_policy import model_policy
from tenantry.fairness.breakers import Breakers
from tests.providers.replies import Reply
from tests.providers.scripted import ScriptedProvider
from tests.service import Answer, ApiClient, Service
from tests.worlds import Cluster

pytestmark = pytest.mark.asyncio(loop_scope="module")
HELLO = [{"role": "user", "content": "Hello there"}]
DOWN = Reply(status=503, error={"error": {"code": "overloaded_error"}})
LIMITED = Reply(status=429, error={"error": {"code": "rate_limit_error"}})
POLICY = "/v1/model-policy"


class Providers:
    """Three providers: two behind the pool `fleet`, one by itself as `spare`."""

    def __init__(self, *each: ScriptedProvider) -> None:
        self.one, self.two, self.spare = self.each = each

    @property
    def calls(self) -> list[int]:
        return [len(provider.calls) for provider in self.each]

    def accounts(self) -> dict[str, Any]:
        accounts = []
        for name, provider in zip(("one", "two", "spare"), self.each, strict=True):
            models = [{"name": "scripted-1", "max_output_tokens": 64}]
            models += [{"name": "scripted-2"}, {"name": "embed", "kind": "embedding"}]
            accounts.append(
                {"name": name, "kind": "openai_compatible", "base_url": provider.url + "/v1",
                 "models": models, "attempts": 2}
            )  # fmt: skip
        members = [{"account": "one", "weight": 3}, {"account": "two"}]
        return {"accounts": accounts, "pools": [{"name": "fleet", "accounts": members}]}


@pytest.fixture(scope="module")
def providers() -> Iterator[Providers]:
    with ScriptedProvider() as one, ScriptedProvider() as two, ScriptedProvider() as spare:
        yield Providers(one, two, spare)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, providers: Providers
) -> AsyncIterator[Service]:
    folder = tmp_path_factory.mktemp("fallbacks")
    path = folder / "providers.json"
    path.write_text(json.dumps(providers.accounts()))
    async with Service.create(cluster, folder, path, egress_allow="127.0.0.1/32") as service:
        yield service


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def fresh(service: Service, providers: Providers) -> None:
    for provider in providers.each:
        provider.calls.clear()
        provider.refused_keys.clear()
        provider.answer = Reply("The answer is 42.")
    service.platform.admission.breakers = Breakers()  # all closed again
    await allow(service.acme, {})


async def allow(client: ApiClient, policy: dict[str, Any]) -> None:
    answer = await client.call("PUT", POLICY, json=policy)
    assert answer.status == 200, answer


async def call(client: ApiClient, model: str, **more: Any) -> Answer:
    asked = {"model": model, "messages": HELLO, "max_tokens": 9, **more}
    return await client.post("/v1/chat/completions", asked)


async def entries(service: Service, count: int) -> list[tuple[str, str, int]]:
    """The newest closed calls: account, payer, output tokens; oldest first."""
    events = (await service.acme.get("/v1/usage/events?limit=50")).body["data"]
    closed = [e for e in events if e["kind"] == "settled"][:count]
    return [(e["account"], e["payer"], e["output_tokens"]) for e in reversed(closed)]


async def own(service: Service, provider: ScriptedProvider, name: str) -> dict[str, Any]:
    account = {"name": name, "kind": "openai_compatible", "base_url": provider.url + "/v1"}
    account |= {"key": f"sk-acme-{name}"}
    body = {**account, "models": [{"name": "scripted-1"}]}
    answer = await service.acme.post("/v1/provider-accounts", body)
    assert answer.status == 201, answer
    found: dict[str, Any] = answer.body
    return found


@pytest.mark.req("COST-4", "FAIR-2")
async def test_calls_are_spread_over_a_pool_by_weight(
    service: Service, providers: Providers
) -> None:
    for _ in range(8):
        assert (await call(service.acme, "fleet/scripted-1")).status == 200
    assert providers.calls == [6, 2, 0]
    accounts = [account for account, _, _ in await entries(service, 8)]
    assert (accounts.count("one"), accounts.count("two")) == (6, 2)


@pytest.mark.req("FAIR-2", "COST-1")
@pytest.mark.parametrize("failure", [DOWN, LIMITED], ids=["503", "429"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_pool_goes_on_to_another_account_and_bills_once(
    service: Service, providers: Providers, failure: Reply, stream: bool
) -> None:
    providers.one.answer = failure
    for _ in range(4):
        answer = await call(service.acme, "fleet/scripted-1", stream=stream)
        assert answer.status == 200
    assert providers.two.calls
    # An attempt that failed is there, and used nothing; each account is tried once a call.
    found = await entries(service, len(providers.one.calls) + len(providers.two.calls))
    assert [account for account, _, tokens in found if tokens] == ["two"] * 4
    failed = [account for account, _, tokens in found if not tokens]
    assert failed == ["one"] * len(providers.one.calls)
    assert 1 <= len(failed) <= 4


@pytest.mark.req("FAIR-2")
async def test_an_account_that_is_not_there_is_passed_over(
    service: Service, providers: Providers
) -> None:
    with ScriptedProvider() as gone:
        account = await own(service, gone, "gone")
    await allow(service.acme, {"fallbacks": {"gone/scripted-1": ["platform:spare/scripted-1"]}})
    assert (await call(service.acme, "gone/scripted-1")).status == 200
    assert providers.calls == [0, 0, 1]
    assert [(a, p) for a, p, _ in await entries(service, 2)] == [
        ("gone", "tenant"),
        ("spare", "platform"),
    ]
    await allow(service.acme, {})
    await service.acme.delete(f"/v1/provider-accounts/{account['id']}?release=true")


@pytest.mark.req("FAIR-2", "COST-1")
async def test_what_may_have_been_billed_is_not_sent_again(
    service: Service, providers: Providers
) -> None:
    await allow(service.acme, {"fallbacks": {"one/scripted-1": ["spare/scripted-1"]}})
    for fault in (Reply("a b c", fault="cut", fault_after=1), Reply(fault="hang_up")):
        providers.one.answer = fault
        with suppress(aiohttp.ClientError):
            await call(service.acme, "one/scripted-1", stream=True)
        assert providers.spare.calls == []
    # The caller's own fault is no reason either.
    providers.one.answer = Reply(status=400, error={"error": {"code": "invalid_request_error"}})
    assert (await call(service.acme, "one/scripted-1")).status == 400
    assert providers.spare.calls == []


@pytest.mark.req("COST-4")
async def test_an_assistant_falls_back_as_the_policy_says(
    service: Service, providers: Providers
) -> None:
    made = {"name": "falling", "instructions": "Brief.", "model": "one/scripted-1"}
    assert (await service.acme.post("/v1/assistants", made)).status == 201
    providers.one.answer = DOWN
    assert (await service.acme.ask("What is it?", "falling")).status == 503
    await allow(
        service.acme, {"fallbacks": {"one/scripted-1": ["two/scripted-2", "spare/scripted-1"]}}
    )
    providers.two.answer = DOWN
    answer = await service.acme.ask("What is it?", "falling")
    assert answer.body["choices"][0]["message"]["content"] == "The answer is 42."
    assert [a for a, _, _ in await entries(service, 3)] == ["one", "two", "spare"]
    assert [tokens > 0 for _, _, tokens in await entries(service, 3)] == [False, False, True]
    # Another tenant has no such policy.
    assert (await service.globex.post("/v1/assistants", made)).status == 201
    assert (await service.globex.ask("What is it?", "falling")).status == 503


@pytest.mark.req("COST-4")
async def test_the_platforms_key_follows_an_own_one_only_where_it_is_named(
    service: Service, providers: Providers
) -> None:
    account = await own(service, providers.one, "mine")
    silent = {"fallbacks": {"mine/scripted-1": ["spare/scripted-1"]}}
    answer = await service.acme.call("PUT", POLICY, json=silent)
    assert (answer.status, "platform:spare/scripted-1" in answer.body["detail"]) == (400, True)
    # Nor where the fallback was an own account when it was written down, and is no more.
    shadow = await own(service, providers.spare, "spare")
    await allow(service.acme, silent)
    await service.acme.delete(f"/v1/provider-accounts/{shadow['id']}?release=true")
    providers.one.answer = DOWN
    assert (await call(service.acme, "mine/scripted-1")).status == 503
    assert providers.spare.calls == []
    await allow(service.acme, {"fallbacks": {"mine/scripted-1": ["platform:spare/scripted-1"]}})
    assert (await call(service.acme, "mine/scripted-1")).status == 200
    assert [(a, p) for a, p, _ in await entries(service, 2)] == [
        ("mine", "tenant"),
        ("spare", "platform"),
    ]
    service.platform.admission.breakers = Breakers()
    # A key that is refused is an error, whatever stands in for a provider that is down.
    providers.one.answer = Reply("The answer is 42.")
    providers.one.refused_keys.add("sk-acme-mine")
    providers.spare.calls.clear()
    answer = await call(service.acme, "mine/scripted-1")
    assert (answer.status, answer.body["code"]) == (502, "credential_refused")
    assert providers.spare.calls == []
    await allow(service.acme, {})
    await service.acme.delete(f"/v1/provider-accounts/{account['id']}?release=true")


@pytest.mark.req("COST-4", "LIM-1")
async def test_a_model_that_is_not_allowed_is_refused_before_anything(
    service: Service, providers: Providers
) -> None:
    await allow(service.acme, {"allowed": ["one/scripted-1", "fleet/*"]})
    before = (await service.acme.get("/v1/usage")).body["totals"]["calls"]
    for path in ("/v1/chat/completions", "/v1/embeddings", "/v1/responses"):
        asked = {"model": "spare/scripted-1", "messages": HELLO, "input": "x"}
        answer = await service.acme.post(path, asked)
        assert (answer.status, answer.body["code"]) == (403, "model_not_allowed")
        assert "spare/scripted-1" in answer.body["detail"]
    made = {"name": "barred", "instructions": "Brief.", "model": "spare/scripted-1"}
    assert (await service.acme.post("/v1/assistants", made)).body["code"] == "model_not_allowed"
    assert providers.calls == [0, 0, 0]
    assert (await service.acme.get("/v1/usage")).body["totals"]["calls"] == before
    listed = [m["id"] for m in (await service.acme.get("/v1/models")).body["data"]]
    named = sorted(name for name in listed if "/" in name)
    assert named == ["fleet/embed", "fleet/scripted-1", "fleet/scripted-2", "one/scripted-1"]
    for model in ("one/scripted-1", "fleet/scripted-2"):
        assert (await call(service.acme, model)).status == 200
    assert (await call(service.globex, "spare/scripted-1")).status == 200


@pytest.mark.req("COST-4")
@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ({"allowed": ["one/none"]}, "no model one/none"),
        ({"allowed": ["none/*"]}, "no model none/*"),
        ({"allowed": "one/scripted-1"}, "allowed"),
        ({"fallbacks": {"one/none": ["one/scripted-1"]}}, "one/none is no model"),
        ({"fallbacks": {"one/scripted-1": ["two/none"]}}, "two/none is no model"),
        ({"fallbacks": {"one/scripted-1": ["one/scripted-1"]}}, "each once"),
        ({"fallbacks": {"one/scripted-1": []}}, "1 to 5"),
        ({"fallbacks": {"one/scripted-1": ["one/embed"]}}, "no model that answers"),
        ({"fallbacks": {"one/embed": ["two/embed"]}}, "no model that answers"),
        ({"fallbacks": {"keyless": ["one/scripted-1"]}}, "built-in"),
        (
            {"allowed": ["one/*"], "fallbacks": {"one/scripted-1": ["two/scripted-1"]}},
            "not among those allowed",
        ),
        ({"denied": []}, "denied"),
    ],
)
async def test_a_policy_that_could_not_be_followed_is_refused_by_name(
    service: Service, policy: dict[str, Any], told: str
) -> None:
    answer = await service.acme.call("PUT", POLICY, json=policy)
    assert answer.status == 400
    assert told in json.dumps(answer.body)
    assert (await service.acme.get(POLICY)).body == {"allowed": None, "fallbacks": {}}


@pytest.mark.req("COST-4")
async def test_the_command_line_shows_and_sets_it(service: Service) -> None:
    environment = {
        "TENANTRY_BASE_URL": service.base_url, "TENANTRY_API_KEY": service.acme.credential,
    }  # fmt: skip

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(model_policy, list(arguments), env=environment)
        return done.output

    assert "every model" in await asyncio.to_thread(run, "show")
    pair = "one/scripted-1=two/scripted-1,spare/scripted-1"
    shown = await asyncio.to_thread(run, "set", "--allow", "one/*", "--allow", "two/*",
                                    "--allow", "spare/*", "--fallback", pair)  # fmt: skip
    assert "one/scripted-1: then two/scripted-1, spare/scripted-1" in shown
    assert '"one/*"' in await asyncio.to_thread(run, "show", "--json")
    assert "not among those allowed" in await asyncio.to_thread(
        run, "set", "--allow", "one/*", "--fallback", pair
    )
    assert "every model" in await asyncio.to_thread(run, "set")
