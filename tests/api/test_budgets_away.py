"""Budgets and the ledger agree also where the end of a call cannot be written."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tenantry.metering.sweeper import Sweeper
from tests.absence import let_in, shut_out
from tests.api.wired import CHAT, OPENAI, SAID, Wired, wired_platform
from tests.providers.replies import ProviderCall, Reply
from tests.worlds import Cluster

served_once = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wired(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Wired]:
    async with wired_platform(cluster, tmp_path_factory.mktemp("away")) as wired:
        limit = {"unit": "tokens", "period": "day", "hard_limit": 10**6}
        assert (await wired.service.acme.call("PUT", "/v1/budgets", json=limit)).status == 200
        yield wired


async def _counted(wired: Wired) -> int:
    """What is used and held once all that nobody needs was given back."""
    await wired.service.platform.upkeep.base.budgets.close()
    line = (await wired.service.acme.get("/v1/budgets")).body["data"][0]
    found: int = line["used"] + line["held"]
    return found


async def _swept(wired: Wired) -> None:
    """Every open call is swept, and every lease is settled by the ledger."""
    with wired.service.admin() as admin:
        admin.execute("UPDATE tenantry.usage_events SET expires_at = now() WHERE kind = 'intent'")
        admin.execute("UPDATE tenantry.budget_leases SET expires_at = now() - interval '20 s'")
    upkeep = wired.service.platform.upkeep
    await Sweeper(upkeep.base.doors.operator).sweep()
    await upkeep.reaper().reap()


async def _assistant(wired: Wired) -> str:
    body = {"name": "brief", "instructions": "Be brief.", "model": OPENAI, "tools": []}
    answer = await wired.service.acme.post("/v1/assistants", body)
    assert answer.status in {201, 409}, answer
    return "brief"


@pytest.mark.req("LIM-1", "LIM-2", "COST-1")
@served_once
@pytest.mark.parametrize(("role", "is_raw"), [("tenantry_ledger", True), ("tenantry_app", False)])
async def test_a_call_whose_end_cannot_be_written_counts_with_its_bound(
    wired: Wired, role: str, is_raw: bool
) -> None:
    wired.forget()
    model = OPENAI if is_raw else await _assistant(wired)
    before = await _counted(wired)
    with wired.service.admin() as admin:

        def answered(_call: ProviderCall) -> Reply:
            shut_out(admin, role)
            return Reply("The answer is 42.")

        wired.provider.answer = answered
        failed = await wired.post(CHAT, {"model": model, "messages": SAID, "max_tokens": 50})
        let_in(admin, role)
    assert (failed.status, failed.body["code"]) == (503, "store_unavailable")
    [intent] = wired.rows("intent")
    assert not wired.closed()
    bound = intent["input_tokens"] + 4 * intent["output_tokens"]
    assert await _counted(wired) - before == bound
    await _swept(wired)
    assert len(wired.closed()) == 1
    assert await _counted(wired) - before == bound  # nobody knows better


@pytest.mark.req("LIM-1", "LIM-2", "COST-1")
@served_once
async def test_a_call_whose_intent_nobody_heard_of_counts_until_the_ledger_says_otherwise(
    wired: Wired,
) -> None:
    wired.forget()
    before = await _counted(wired)
    with wired.service.admin() as admin:
        shut_out(admin, "tenantry_ledger")
        failed = await wired.post(CHAT, {"model": OPENAI, "messages": SAID, "max_tokens": 50})
        let_in(admin, "tenantry_ledger")
    assert failed.status == 503
    assert await _counted(wired) > before
    await _swept(wired)
    assert await _counted(wired) == before
