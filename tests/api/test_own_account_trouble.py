"""A tenant's own account that fails holds back its tenant alone; counted in calls, not timed."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from tenantry.fairness.accounts import Own
from tests.api.conftest import providers_file
from tests.providers.replies import ProviderCall, Reply, refusing
from tests.providers.scripted import ScriptedProvider
from tests.service import Answer, ApiClient, Service
from tests.worlds import Cluster

pytestmark = pytest.mark.asyncio(loop_scope="module")
CHAT = "/v1/chat/completions"
LIMITED = refusing(429, **{"retry-after": "30"})


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as provider:
        yield provider


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, provider: ScriptedProvider
) -> AsyncIterator[Service]:
    """A server with an account of the platform's; both tenants bring one of their own, `mine`."""
    folder = tmp_path_factory.mktemp("trouble")
    path = providers_file(folder, provider)
    async with Service.create(cluster, folder, path, egress_allow="127.0.0.1/32") as service:
        for name, client in (("acme", service.acme), ("globex", service.globex)):
            account = {
                "name": "mine", "kind": "openai_compatible", "base_url": provider.url + "/v1",
                "key": f"sk-{name}-0", "models": [{"name": "scripted-1", "max_output_tokens": 64}],
            }  # fmt: skip
            assert (await client.post("/v1/provider-accounts", account)).status == 201
        yield service


async def _call(client: ApiClient, account: str = "mine") -> Answer:
    said = [{"role": "user", "content": "Hello"}]
    asked = {"model": f"{account}/scripted-1", "messages": said, "max_tokens": 9}
    return await client.post(CHAT, asked)


async def _states(client: ApiClient, path: str = "/v1/breakers") -> dict[str, str]:
    found: list[dict[str, Any]] = (await client.get(path)).body["data"]
    return {each["account"]: each["state"] for each in found}


def _of(provider: ScriptedProvider, key: str) -> list[ProviderCall]:
    return [call for call in provider.calls if key in call.headers["authorization"]]


@pytest.mark.req("FAIR-2", "COST-4")
@pytest.mark.parametrize(
    ("reply", "first", "then", "state"),
    [
        (refusing(401), "credential_refused", (502, "credential_refused"), "credential"),
        (LIMITED, "provider_unavailable", (429, "account_limited"), "limited"),
    ],
    ids=["revoked", "limited"],
)
async def test_an_own_account_in_trouble_holds_back_its_tenant_and_nobody_else(
    service: Service,
    provider: ScriptedProvider,
    reply: Reply,
    first: str,
    then: tuple[int, str],
    state: str,
) -> None:
    key = f"sk-acme-{state}"
    (account,) = (await service.acme.get("/v1/provider-accounts")).body["data"]
    path = f"/v1/provider-accounts/{account['id']}"
    assert (await service.acme.call("PATCH", path, json={"key": key})).status == 200
    provider.calls.clear()
    provider.answer = lambda call: reply if key in call.headers["authorization"] else Reply("Fine.")
    platforms = service.platform.admission.capacity.of(Own("scripted")).scheduler
    slots = platforms.capacity

    assert (await _call(service.acme)).body["code"] == first
    sent = len(_of(provider, key))
    for _ in range(4):
        held = await _call(service.acme)
        assert (held.status, held.body["code"]) == then
    assert len(_of(provider, key)) == sent  # nothing more went out with that key

    others = [(service.globex, "mine"), (service.globex, "scripted"), (service.acme, "scripted")]
    before = len(provider.calls)
    for client, named in others * 3:
        answer = await _call(client, named)
        assert (answer.status, answer.headers["x-tenantry-queue-ms"]) == (200, "0")
    assert len(provider.calls) == before + 9  # one call each: none was refused, none repeated
    assert platforms.capacity == slots

    assert await _states(service.acme) == {"mine": state, "scripted": "closed"}
    assert await _states(service.globex) == {"mine": "closed", "scripted": "closed"}
    assert await _states(service.operator, "/v1/operator/breakers") == {"mine": state}
    # With another key the account is worth trying again at once.
    assert (await service.acme.call("PATCH", path, json={"key": f"{key[:7]}-new"})).status == 200
    assert (await _call(service.acme)).status == 200
    assert await _states(service.acme) == {"mine": "closed", "scripted": "closed"}


@pytest.mark.req("FAIR-2")
async def test_failures_of_one_tenant_alone_take_no_slot_from_the_others(
    service: Service, provider: ScriptedProvider
) -> None:
    platforms = service.platform.admission.capacity.of(Own("scripted"))
    slots = platforms.scheduler.capacity
    globex = service.tenants_id("globex")
    turn = platforms.scheduler.offer(globex, 1.0, service.platform.clock.monotonic())
    assert platforms.scheduler.next(service.platform.clock.monotonic()) is turn  # globex is here
    provider.answer = Reply("x", fault="hang_up")
    for _ in range(6):
        assert (await _call(service.acme, "scripted")).status == 503
    assert (await _states(service.acme))["scripted"] == "open"
    assert platforms.scheduler.capacity == slots
    platforms.give_back(turn, None)
    provider.answer = Reply("Fine.")
    assert (await _call(service.globex, "scripted")).status == 200
    assert (await _states(service.globex))["scripted"] == "closed"
