"""Tenants' own accounts at model providers: whose key goes out, and what never happens to it."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from click.testing import CliRunner

from tenantry.cli.provider_accounts import provider_account
from tests.api.conftest import providers_file
from tests.providers.replies import Reply
from tests.providers.scripted import ScriptedProvider
from tests.service import Answer, ApiClient, Service
from tests.worlds import Cluster

pytestmark = pytest.mark.asyncio(loop_scope="module")
HELLO = [{"role": "user", "content": "Hello there"}]
PLATFORMS = "sk-scripted-secret"
PATH = "/v1/provider-accounts"


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as provider:
        yield provider


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, provider: ScriptedProvider
) -> AsyncIterator[Service]:
    """One server for the module, whose platform has an account `scripted`."""
    folder = tmp_path_factory.mktemp("accounts")
    path = providers_file(folder, provider)
    async with Service.create(cluster, folder, path, egress_allow="127.0.0.1/32") as service:
        yield service


@pytest.fixture(autouse=True)
def quiet(provider: ScriptedProvider) -> None:
    provider.calls.clear()
    provider.refused_keys.clear()
    provider.answer = Reply("The answer is 42.")


def body(provider: ScriptedProvider, name: str, key: str, **more: Any) -> dict[str, Any]:
    url = provider.url + "/v1"
    models = [{"name": "scripted-1", "max_output_tokens": 64}]
    account = {"name": name, "kind": "openai_compatible", "base_url": url, "key": key}
    return account | {"models": models} | more


async def add(client: ApiClient, account: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post(PATH, account)
    assert answer.status == 201, answer
    found: dict[str, Any] = answer.body
    return found


async def call(client: ApiClient, model: str, **more: Any) -> Answer:
    asked = {"model": model, "messages": HELLO, "max_tokens": 9, **more}
    return await client.post("/v1/chat/completions", asked)


def keys(provider: ScriptedProvider) -> list[str]:
    """The keys that calls came with, in order."""
    return [
        call.headers.get("authorization", "").removeprefix("Bearer ")
        or call.headers.get("x-api-key", "")
        or call.headers.get("x-goog-api-key", "")
        for call in provider.calls
    ]


async def remove(client: ApiClient, account: dict[str, Any], query: str = "?release=true") -> None:
    assert (await client.delete(f"{PATH}/{account['id']}{query}")).status == 204


async def refused(service: Service) -> list[dict[str, Any]]:
    audit = await service.acme.get("/v1/audit?outcome=refused&limit=50")
    events: list[dict[str, Any]] = audit.body["data"]
    return events


@pytest.mark.req("COST-4", "USE-5")
@pytest.mark.parametrize(
    ("kind", "base"), [("openai_compatible", "/v1"), ("anthropic", ""), ("google", "")]
)
async def test_calls_go_out_with_the_tenants_own_key_and_cost_nothing(
    service: Service, provider: ScriptedProvider, kind: str, base: str
) -> None:
    name, key = f"mine-{kind.replace('_', '-')}", f"sk-acme-{kind}"
    account = await add(
        service.acme, body(provider, name, key, kind=kind, base_url=provider.url + base)
    )
    assert [w for w in account["warnings"] if "unencrypted" not in w] == []
    answer = await call(service.acme, f"{name}/scripted-1")
    assert answer.body["choices"][0]["message"]["content"] == "The answer is 42."
    assert keys(provider) == [key]
    events = (await service.acme.get("/v1/usage/events?limit=4")).body["data"]
    newest = [e for e in events if e["account"] == name]
    assert {e["kind"] for e in newest} == {"intent", "settled"}
    assert {(e["payer"], e["cost_picousd"], e["priced"]) for e in newest} == {("tenant", 0, True)}
    reported = provider.calls[0].reported
    assert newest[0]["output_tokens"] > 0
    assert reported
    lines = (await service.acme.get("/v1/usage?by=account")).body["lines"]
    assert [(li["payer"], li["calls"]) for li in lines if li["key"] == name] == [("tenant", 1)]
    await remove(service.acme, account)


@pytest.mark.req("COST-4")
async def test_an_assistant_answers_with_an_own_account(
    service: Service, provider: ScriptedProvider
) -> None:
    account = await add(service.acme, body(provider, "own-a", "sk-acme-assistant"))
    made = {"name": "own-analyst", "instructions": "Brief.", "model": "own-a/scripted-1"}
    assert (await service.acme.post("/v1/assistants", made)).status == 201
    assert (await service.globex.post("/v1/assistants", made)).status == 404
    answer = await service.acme.ask("What is it?", "own-analyst")
    assert answer.body["choices"][0]["message"]["content"] == "The answer is 42."
    assert answer.body["tenantry"]["cost_picousd"] == 0
    assert keys(provider) == ["sk-acme-assistant"]
    provider.refused_keys.add("sk-acme-assistant")
    answer = await service.acme.ask("What is it?", "own-analyst")
    assert (answer.status, answer.body["code"]) == (502, "credential_refused")
    assert "credential" in answer.body["detail"]
    await remove(service.acme, account)
    answer = await service.acme.ask("What is it?", "own-analyst")
    assert answer.status == 404
    assert set(keys(provider)) == {"sk-acme-assistant"}


@pytest.mark.req("COST-4", "SEC-6")
async def test_a_key_is_never_shown_again(service: Service, provider: ScriptedProvider) -> None:
    key = "sk-acme-never-shown-0123456789"
    account = await add(service.acme, body(provider, "hidden", key))
    path = f"{PATH}/{account['id']}"
    shown = [account, (await service.acme.get(PATH)).body, (await service.acme.get(path)).body]
    shown.append((await service.acme.post(f"{path}/test")).body)
    shown.append((await service.acme.get("/v1/audit?limit=100")).body)
    assert (await service.acme.call("PATCH", path, json={"key": key, "x": 1})).status == 400
    assert key not in json.dumps(shown)
    assert "sk-acme" not in json.dumps(shown)
    with service.admin() as admin:
        for table in ("provider_accounts", "vault_secrets", "audit_events"):
            rows = admin.execute(f"SELECT t::text FROM tenantry.{table} AS t".encode()).fetchall()
            assert key not in repr(rows)
            assert key.encode().hex() not in repr(rows)
    await remove(service.acme, account)


@pytest.mark.req("COST-4")
async def test_an_own_account_shadows_the_platforms_for_its_tenant_alone(
    service: Service, provider: ScriptedProvider
) -> None:
    account = await add(service.acme, body(provider, "scripted", "sk-acme-shadow"))
    models = {m["id"]: m["owned_by"] for m in (await service.acme.get("/v1/models")).body["data"]}
    assert models["scripted/scripted-1"] == "own_account"
    assert "scripted/scripted-2" not in models
    theirs = {m["id"]: m["owned_by"] for m in (await service.globex.get("/v1/models")).body["data"]}
    assert theirs["scripted/scripted-2"] == theirs["scripted/scripted-1"] == "provider"
    for client in (service.acme, service.globex):
        assert (await call(client, "scripted/scripted-1")).status == 200
    assert keys(provider) == ["sk-acme-shadow", PLATFORMS]
    # What the own account does not list is not looked for at the platform's.
    answer = await call(service.acme, "scripted/scripted-2")
    assert (answer.status, "no such model" in answer.body["detail"]) == (404, True)
    await remove(service.acme, account)
    assert (await call(service.acme, "scripted/scripted-2")).status == 200


@pytest.mark.req("COST-4")
async def test_a_refused_or_removed_key_is_never_replaced_by_the_platforms(
    service: Service, provider: ScriptedProvider
) -> None:
    account = await add(service.acme, body(provider, "scripted", "sk-acme-broken"))
    provider.answer = Reply(status=500, error={"error": {"code": "server_error"}})
    answer = await call(service.acme, "scripted/scripted-1")
    assert answer.status == 503
    provider.answer = Reply("The answer is 42.")
    provider.refused_keys.add("sk-acme-broken")
    for _ in range(2):
        answer = await call(service.acme, "scripted/scripted-1")
        assert answer.status == 502
        assert "credential" in answer.body["detail"]
    provider.refused_keys.clear()
    await remove(service.acme, account, "")
    answer = await call(service.acme, "scripted/scripted-1")
    assert (answer.status, answer.body["code"]) == (409, "account_removed")
    streamed = await call(service.acme, "scripted/scripted-1", stream=True)
    assert streamed.status == 409
    listed = (await service.acme.get("/v1/models")).body["data"]
    assert not [m for m in listed if m["id"].startswith("scripted/")]
    assert set(keys(provider)) == {"sk-acme-broken"}
    held = [a for a in (await service.acme.get(PATH)).body["data"] if a["name"] == "scripted"]
    assert held[0]["removed_at"] is not None
    # A new account of the name takes it over; only a release gives it back to the platform.
    again = await add(service.acme, body(provider, "scripted", "sk-acme-again"))
    assert (await call(service.acme, "scripted/scripted-1")).status == 200
    assert keys(provider)[-1] == "sk-acme-again"
    await remove(service.acme, again)
    assert (await call(service.acme, "scripted/scripted-1")).status == 200
    assert keys(provider)[-1] == PLATFORMS


@pytest.mark.req("COST-4", "POOL-4")
async def test_a_sealed_key_opens_for_no_other_tenant_and_no_other_account(
    service: Service, provider: ScriptedProvider
) -> None:
    theirs = await add(service.globex, body(provider, "target", "sk-globex-valuable"))
    first = await add(service.acme, body(provider, "first", "sk-acme-first"))
    second = await add(service.acme, body(provider, "second", "sk-acme-second"))
    swap = (
        "UPDATE tenantry.vault_secrets AS s SET sealed = o.sealed FROM tenantry.vault_secrets AS o"
        " WHERE s.owner_id = %s AND o.owner_id = %s"
    )
    for source in (theirs, first):
        with service.admin() as admin:
            admin.execute(swap.encode(), [second["id"], source["id"]])
        service.platform.providers.own.changed(service.tenants_id("acme"))
        answer = await call(service.acme, "second/scripted-1")
        assert (answer.status, answer.body["code"]) == (500, "secret_unreadable")
        tested = await service.acme.post(f"{PATH}/{second['id']}/test")
        assert (tested.status, tested.body["code"]) == (500, "secret_unreadable")
    assert provider.calls == []
    assert [e["action"] for e in await refused(service)][:4] == ["vault.refused"] * 4
    for account in (first, second):
        await remove(service.acme, account)
    await remove(service.globex, theirs)


@pytest.mark.req("COST-4", "POOL-4")
async def test_a_key_is_rotated_under_a_running_call(
    service: Service, provider: ScriptedProvider
) -> None:
    account = await add(service.acme, body(provider, "turning", "sk-acme-old"))
    provider.answer = Reply("word " * 40, token_s=0.02)
    running = asyncio.create_task(
        call(service.acme, "turning/scripted-1", max_tokens=60, stream=True)
    )
    await provider.wait_for(lambda: any(c.streamed_tokens > 3 for c in provider.calls))
    changed = await service.acme.call(
        "PATCH", f"{PATH}/{account['id']}", json={"key": "sk-acme-new"}
    )
    assert (changed.status, changed.body["credential_version"]) == (200, 2)
    provider.answer = Reply("The answer is 42.")
    assert (await call(service.acme, "turning/scripted-1")).status == 200
    whole = await running
    assert whole.status == 200
    assert whole.body.count("word") == 40
    assert whole.body.rstrip().endswith("[DONE]")
    assert keys(provider) == ["sk-acme-old", "sk-acme-new"]
    assert provider.calls[0].port != provider.calls[1].port
    # Connections are kept for calls with one key.
    assert (await call(service.acme, "turning/scripted-1")).status == 200
    assert provider.calls[2].port == provider.calls[1].port
    await remove(service.acme, account)


@pytest.mark.req("COST-4", "CON-4")
async def test_an_address_inside_is_refused_and_recorded(
    service: Service, provider: ScriptedProvider
) -> None:
    before = len(await refused(service))
    inside = body(provider, "inside", "sk-acme", base_url="http://169.254.169.254/v1")
    answer = await service.acme.post(PATH, inside)
    assert (answer.status, answer.body["code"]) == (403, "egress_refused")
    # A row that was changed past the API is judged again when it is called.
    account = await add(service.acme, body(provider, "moved", "sk-acme-moved"))
    with service.admin() as admin:
        admin.execute(
            "UPDATE tenantry.provider_accounts SET base_url = 'http://127.0.0.2:1/v1'"
            " WHERE account_id = %s",
            [account["id"]],
        )
    service.platform.providers.own.changed(service.tenants_id("acme"))
    for _ in range(2):
        answer = await call(service.acme, "moved/scripted-1")
        assert (answer.status, answer.body["code"]) == (403, "egress_refused")
    events = await refused(service)
    told = [(e["action"], e["detail"]["entry"]) for e in events[: len(events) - before]]
    assert told == [("egress.refused", "provider_account")] * 3
    spent = (await service.acme.get("/v1/usage/events?limit=2")).body["data"]
    assert {(e["account"], e["input_tokens"]) for e in spent if e["kind"] == "settled"} == {
        ("moved", 0)
    }
    await remove(service.acme, account)


@pytest.mark.req("COST-4")
@pytest.mark.parametrize(
    ("wrong", "status", "told"),
    [
        ({"name": "keyless"}, 400, "built-in"),
        ({"name": "Mine"}, 400, "name"),
        ({"kind": "local"}, 400, "kind"),
        ({"models": []}, 400, "models"),
        ({"models": [{"name": "a b"}]}, 400, "name"),
        ({"models": [{"name": "m"}, {"name": "m"}]}, 400, "same name"),
        ({"models": [{"name": "m", "path": "/etc/passwd"}]}, 400, "path"),
        ({"kind": "google", "models": [{"name": "m", "kind": "embedding"}]}, 400, "embedding"),
        ({"base_url": "ftp://example.com"}, 400, "base_url"),
        ({"base_url": "https://user:pw@example.com"}, 400, "base_url"),
        ({"key": "two words"}, 400, "key"),
        ({"key": "line\nbreak"}, 400, "key"),
        ({"key": ""}, 400, "key"),
        ({"key_env": "HOME"}, 400, "key_env"),
        ({"key": "sk-withdrawn"}, 422, "refused the key"),
        ({"base_url": "http://127.0.0.1:9/v1"}, 422, "could not be reached"),
        ({"base_url": "http://nowhere.invalid/v1"}, 422, "could not be reached"),
    ],
)
async def test_what_cannot_be_an_account_is_refused_by_name_and_not_stored(
    service: Service, provider: ScriptedProvider, wrong: dict[str, Any], status: int, told: str
) -> None:
    provider.refused_keys.add("sk-withdrawn")
    answer = await service.acme.post(PATH, body(provider, "wrong", "sk-acme") | wrong)
    assert answer.status == status, answer
    assert told in json.dumps(answer.body)
    if wrong.get("key"):
        assert wrong["key"] not in json.dumps(answer.body)
    assert (await service.acme.get(PATH)).body["data"] == []


@pytest.mark.req("COST-4")
async def test_a_key_stays_with_the_destination_it_was_given_for(
    service: Service, provider: ScriptedProvider
) -> None:
    account = await add(service.acme, body(provider, "staying", "sk-acme-staying"))
    path = f"{PATH}/{account['id']}"
    with ScriptedProvider() as elsewhere:
        moved = {"base_url": elsewhere.url + "/v1"}
        answer = await service.acme.call("PATCH", path, json=moved)
        assert (answer.status, "key again" in answer.body["detail"]) == (400, True)
        answer = await service.acme.call("PATCH", path, json={**moved, "key": "sk-acme-moved"})
        assert answer.status == 200
        assert (await call(service.acme, "staying/scripted-1")).status == 200
        assert keys(elsewhere) == ["sk-acme-moved"]
    provider.refused_keys.add("sk-acme-wrong")
    await remove(service.acme, account)


@pytest.mark.req("COST-4", "SEC-6")
async def test_only_administrators_bring_keys(service: Service, provider: ScriptedProvider) -> None:
    for role, seen in (("viewer", 403), ("analyst", 403), ("admin", 200)):
        made = {"external_id": f"byok-{role}", "role": role}
        member = (await service.acme.post("/v1/members", made)).body
        issued = {"name": role, "member_id": member["id"]}
        client = service.client((await service.acme.post("/v1/keys", issued)).body["api_key"])
        assert (await client.get(PATH)).status == seen
        answer = await client.post(PATH, body(provider, f"of-{role}", "sk-acme-role"))
        assert answer.status == (201 if seen == 200 else 403)
    await remove(service.acme, answer.body)


@pytest.mark.req("COST-4", "USE-1")
async def test_the_command_line_does_all_of_it(
    service: Service, provider: ScriptedProvider
) -> None:
    environment = {
        "TENANTRY_BASE_URL": service.base_url,
        "TENANTRY_API_KEY": service.acme.credential,
        "MY_KEY": "sk-acme-terminal",
        "NEXT_KEY": "sk-acme-turned",
    }

    async def run(*arguments: str, code: int = 0, typed: str | None = None) -> str:
        done = await asyncio.to_thread(
            CliRunner().invoke, provider_account, list(arguments), input=typed, env=environment
        )
        assert done.exit_code == code, done.output
        return done.output

    model = ("--model", "short=scripted-1", "--max-output-tokens", "50")
    url = ("--base-url", provider.url + "/v1")
    added = await run("add", "cli", "openai_compatible", *model, *url, "--key-env", "MY_KEY")
    assert "Warning: The key is sent unencrypted" in added
    assert (await call(service.acme, "cli/short")).status == 200
    assert provider.calls[-1].model == "scripted-1"
    assert '"ok": true' in await run("test", "cli", "--json")
    assert '"credential_version": 2' in await run(
        "rotate", "cli", "--key-env", "NEXT_KEY", "--json"
    )
    assert (await call(service.acme, "cli/short")).status == 200
    assert keys(provider) == ["sk-acme-terminal", "sk-acme-turned"]
    assert "other" in await run("change", "cli", "--model", "other=scripted-2")
    listed = await run("list")
    assert "other" in listed
    assert "sk-acme" not in listed + added
    provider.refused_keys.add("sk-acme-turned")
    assert "refused the key (HTTP 401)" in await run("test", "cli", code=1)
    assert "--model" in await run("add", "cli2", "google", "--key-env", "MY_KEY", code=2)
    await run("remove", "cli", typed="y\n")
    assert "There is no account none" in await run("remove", "none", "--yes", code=1)
    await run("remove", "cli", "--release-name", "--yes")
    assert "(nothing)" in await run("list")
