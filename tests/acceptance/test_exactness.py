"""Random calls, faults and kills: ledger and provider agree on every call and every token."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tenantry.db.store import embedded_server
from tests.acceptance.process import command, environment, served
from tests.acceptance.soaking import Crowd, Ledgers, Moods, Told, Truth, accounts_file
from tests.providers.scripted import ScriptedProvider
from tests.service import ApiClient

_SEED = 20261128
_LINES_AT_ONCE = 2000
_SWEPT_WITHIN_S = 10.0
_BILLED = (
    "SELECT e.call_id::text AS call_id, t.name AS tenant, e.provider || '/' || e.model AS model,"
    " sum(e.input_tokens)::bigint AS input, sum(e.output_tokens)::bigint AS output,"
    " sum(e.cached_tokens)::bigint AS cached, sum(e.calls)::bigint AS calls,"
    " sum(e.cost_picousd)::bigint AS cost,"
    " count(*) FILTER (WHERE e.kind IN ('settled', 'swept')) AS ends,"
    " bool_or(e.confirmed) AS confirmed"
    " FROM tenantry.usage_events AS e JOIN tenantry.tenants AS t USING (tenant_id)"
    " WHERE e.kind IN ('settled', 'swept', 'reconciled') GROUP BY 1, 2, 3"
)
_INTENTS = (
    "SELECT call_id::text AS call_id, request_key FROM tenantry.usage_events WHERE kind = 'intent'"
)
_SETTLED = "SELECT request_id FROM tenantry.usage_events WHERE kind = 'settled'"


@dataclass
class Deployment:
    """A database that outlives the servers, and a provider that outlives them too."""

    settings: dict[str, str]
    ledger: Ledgers
    provider: ScriptedProvider
    told: Told = field(default_factory=Told)
    operator: str = ""
    keys: list[str] = field(default_factory=list)


@pytest.fixture
async def deployment(deployment_dir: Path) -> AsyncIterator[Deployment]:
    with (
        ScriptedProvider(Moods(_SEED)) as provider,
        embedded_server(deployment_dir, deployment_dir / "secrets.json") as store,
    ):
        (deployment_dir / "providers.json").write_text(accounts_file(provider.url))
        extra = {"TENANTRY_PROVIDERS_FILE": str(deployment_dir / "providers.json")}
        found = Deployment(environment(deployment_dir, **extra), Ledgers(store), provider)
        status, out, err = await command(found.settings, "operator-key", "create", "test")
        assert status == 0, err
        found.operator = out.strip()
        async with served(found.settings) as server:
            client = ApiClient(server.base_url, found.operator)
            for name in ("acme", "globex"):
                body = {"name": name, "owner": {"external_id": "owner"}}
                found.keys.append((await client.post("/v1/tenants", body)).body["api_key"])
        yield found


async def _live_and_die(deployment: Deployment, crowd: Crowd, calls: int, delay_s: float) -> int:
    """One server's life; how many calls it left open when it was killed."""
    async with served(deployment.settings) as server:
        working = await crowd.ask(server.base_url, calls)
        await asyncio.sleep(delay_s)
        going_on = crowd.going_on()
        server.kill()
        await server.gone()
        left_open = deployment.ledger.open_calls()
        assert left_open <= going_on
        await working
    return left_open


async def _swept(deployment: Deployment) -> float:
    """Seconds from the next server's start until no call is open."""
    began = time.monotonic()
    while deployment.ledger.open_calls():
        assert time.monotonic() - began < _SWEPT_WITHIN_S, "calls are still open"
        await asyncio.sleep(0.1)
    return time.monotonic() - began


async def _reconcile(deployment: Deployment, base_url: str, lines: Sequence[str]) -> None:
    data_dir = Path(deployment.settings["TENANTRY_DATA_DIR"])
    client = {"TENANTRY_BASE_URL": base_url, "TENANTRY_OPERATOR_KEY": deployment.operator}
    for start in range(0, len(lines), _LINES_AT_ONCE):
        export = data_dir / "export.csv"
        some = lines[start : start + _LINES_AT_ONCE]
        header = "call_id,input_tokens,output_tokens,cached_tokens"
        export.write_text("\n".join([header, *some]) + "\n")
        settings = {**deployment.settings, **client}
        status, out, err = await command(settings, "usage", "reconcile", "--json", str(export))
        assert status == 0, err
        assert {row["status"] for row in json.loads(out)} <= {"corrected", "unchanged"}


async def _prove(deployment: Deployment, kills: int, calls: int) -> None:
    chance, told = random.Random(_SEED), deployment.told
    crowd = Crowd(deployment.keys, told, _SEED)
    left_open = 0
    for _ in range(kills):
        left_open += await _live_and_die(
            deployment, crowd, calls // kills, chance.uniform(0.0, 0.05)
        )
    async with served(deployment.settings) as server:
        swept_s = await _swept(deployment)
        await deployment.provider.wait_for(
            lambda: all(call.outcome != "open" for call in deployment.provider.calls)
        )
        truth = Truth.of(deployment.provider.calls)
        intents = {row["call_id"]: row["request_key"] for row in deployment.ledger.rows(_INTENTS)}
        _check_before(deployment, truth, intents)
        await _reconcile(deployment, server.base_url, truth.export(sorted(intents)))
        totals = _check_after(deployment, truth, intents)
        verified = await ApiClient(server.base_url, deployment.operator).post(
            "/v1/operator/audit/verify"
        )
        assert verified.body["whole"], verified.body
    seen = len(deployment.provider.calls)
    print(  # noqa: T201  # the figures that `make soak` reports
        f"\n{kills} kills; {crowd.started} requests, {len(intents)} intents, {seen} attempts at the"
        f" provider, {len(truth.calls)} of them worked on; {len(told.answered)} answered whole,"
        f" {len(told.left)} clients left, {told.repeated} repetitions refused,"
        f" {told.refused} refused or failed; {left_open} calls left open by kills,"
        f" all swept {swept_s:.1f} s after the last start; totals equal: {totals}"
    )


def _check_before(deployment: Deployment, truth: Truth, intents: dict[str, str]) -> None:
    """What holds without anybody's help but the sweeper's."""
    attempted = {call.request_id for call in deployment.provider.calls}
    assert attempted <= intents.keys()
    keys = [key for key in intents.values() if key]
    assert len(set(keys)) == len(keys)
    settled = {row["request_id"] for row in deployment.ledger.rows(_SETTLED)}
    assert deployment.told.answered <= settled
    for row in deployment.ledger.rows(_BILLED):
        assert (row["ends"], row["calls"]) == (1, 1)
        call = truth.calls.get(row["call_id"])
        if row["confirmed"]:
            used = (call.prompt_tokens, call.streamed_tokens) if call else (0, 0)
            assert (row["input"], row["output"]) == used, (row, call)


def _check_after(
    deployment: Deployment, truth: Truth, intents: dict[str, str]
) -> dict[str, tuple[int, int]]:
    """What the provider counted is what the tenants pay, call by call and in all."""
    ours: dict[str, tuple[int, int]] = {}
    theirs: dict[str, tuple[int, int]] = {}
    entries = deployment.ledger.rows(_BILLED)
    assert {row["call_id"] for row in entries} == intents.keys()
    for row in entries:
        call = truth.calls.get(row["call_id"])
        used = (call.prompt_tokens, call.streamed_tokens) if call else (0, 0)
        assert (row["input"], row["output"], row["calls"]) == (*used, 1)
        name = f"{row['tenant']} {row['model']}"
        for sums, counts in ((ours, (row["input"], row["output"])), (theirs, used)):
            before = sums.get(name, (0, 0))
            sums[name] = (before[0] + counts[0], before[1] + counts[1])
    assert ours == theirs
    return ours


@pytest.mark.req("COST-1", "COST-3", "SCALE-2")
@pytest.mark.timeout(180)
async def test_ledger_and_provider_agree_on_every_call(deployment: Deployment) -> None:
    await _prove(deployment, kills=1, calls=200)


@pytest.mark.soak
@pytest.mark.req("COST-1", "COST-3", "SCALE-2")
@pytest.mark.timeout(3600)
async def test_twenty_thousand_calls_and_fifty_kills(deployment: Deployment) -> None:
    await _prove(deployment, kills=50, calls=20_000)
