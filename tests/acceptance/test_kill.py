"""kill -9 of the server, mid-stream, again and again: nothing is lost, nothing counts twice."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest

from tenantry.db.store import Store, embedded_server
from tests.acceptance.process import ServerProcess, command, environment, served
from tests.providers.replies import ProviderCall, Reply
from tests.providers.scripted import ScriptedProvider
from tests.service import ApiClient

_TOTALS = (
    "SELECT call_id::text, sum(input_tokens)::bigint AS input,"
    " sum(output_tokens)::bigint AS output,"
    " count(*) FILTER (WHERE kind IN ('settled', 'swept')) AS entries,"
    " bool_and(confirmed) AS confirmed,"
    " (SELECT i.output_tokens FROM tenantry.usage_events AS i WHERE i.tenant_id = e.tenant_id"
    "   AND i.call_id = e.call_id AND i.kind = 'intent') AS reserved"
    " FROM tenantry.usage_events AS e"
    " WHERE kind IN ('settled', 'swept', 'reconciled') AND operation = 'chat'"
    " GROUP BY tenant_id, call_id"
)

_SETTLED = "SELECT request_id FROM tenantry.usage_events WHERE kind = 'settled' AND confirmed"


@dataclass
class Deployment:
    """A data directory, its provider, and what clients were told."""

    settings: dict[str, str]
    store: Store
    provider: ScriptedProvider
    completed: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Rows of the ledger and the rest, past row-level security."""
        with psycopg.connect(self.store.admin_url, row_factory=psycopg.rows.dict_row) as admin:
            return admin.execute(query).fetchall()

    async def call(self, server: ServerProcess, key: str, *, stream: bool) -> None:
        """One call to the raw model; remember its request if the answer came whole."""
        messages = [{"role": "user", "content": "Count."}]
        body = {"model": "scripted/scripted-1", "messages": messages, "stream": stream}
        url = f"{server.base_url}/v1/chat/completions"
        headers = {"authorization": f"Bearer {key}"}
        try:
            async with (
                aiohttp.ClientSession(headers=headers) as session,
                session.post(url, json=body) as response,
            ):
                answer = await response.read()
        except aiohttp.ClientError:
            return  # the server was killed: that is the point
        if response.status == 200 and (b"[DONE]" in answer if stream else answer.endswith(b"}")):
            self.answered.append(response.headers["x-request-id"])

    async def ask(self, server: ServerProcess, key: str, model: str) -> None:
        """Stream one answer; remember its conversation if it came to its end."""
        body = {"model": model, "messages": [{"role": "user", "content": "Count."}], "stream": True}
        url, told = f"{server.base_url}/v1/chat/completions", ""
        headers = {"authorization": f"Bearer {key}"}
        try:
            async with (
                aiohttp.ClientSession(headers=headers) as session,
                session.post(url, json=body) as response,
            ):
                async for line in response.content:
                    text = line.decode().removeprefix("data: ").strip()
                    if text == "[DONE]" and told:
                        self.completed.append(told)
                    elif "conversation_id" in text:
                        told = json.loads(text)["tenantry"]["conversation_id"]
        except aiohttp.ClientError:
            return  # the server was killed: that is the point


@pytest.fixture
async def deployment(deployment_dir: Path) -> AsyncIterator[Deployment]:
    """An embedded database that outlives the servers, and a provider that outlives them too."""
    data_dir = deployment_dir
    with (
        ScriptedProvider(Reply("word " * 40, token_s=0.01)) as provider,
        embedded_server(data_dir, data_dir / "secrets.json") as store,
    ):
        (data_dir / "key").write_text("sk-scripted")
        listed = provider.accounts_file(str(data_dir / "key"))
        (data_dir / "providers.json").write_text(json.dumps(listed))
        extra = {"TENANTRY_PROVIDERS_FILE": str(data_dir / "providers.json")}
        yield Deployment(environment(data_dir, **extra), store, provider)


async def _tenant(deployment: Deployment) -> tuple[str, str]:
    status, out, err = await command(deployment.settings, "operator-key", "create", "test")
    assert status == 0, err
    operator = out.strip()
    async with served(deployment.settings) as server:
        client = ApiClient(server.base_url, operator)
        body = {"name": "acme", "owner": {"external_id": "owner"}}
        key = (await client.post("/v1/tenants", body)).body["api_key"]
        scribe = {"name": "scribe", "instructions": "Count.", "model": "scripted/scripted-1"}
        made = await ApiClient(server.base_url, key).post("/v1/assistants", scribe)
        assert made.status == 201, made.body
    return operator, key


async def _rounds(deployment: Deployment, key: str, rounds: int) -> None:
    chance = random.Random(20261123)
    for number in range(rounds):
        async with served(deployment.settings) as server:
            asked = [deployment.ask(server, key, "scribe") for _ in range(2)]
            asked += [deployment.call(server, key, stream=n % 2 == 0) for n in range(6)]
            asking = [asyncio.create_task(each) for each in asked]
            if number % 2:
                # In the moment in which a client has its answer: is it settled already?
                await asyncio.wait(asking[2:], return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(chance.uniform(0.0, 0.8))
            server.kill()
            await asyncio.gather(*asking)


def _by_call(deployment: Deployment) -> dict[str, ProviderCall]:
    calls = deployment.provider.calls
    return {call.headers["x-client-request-id"]: call for call in calls}


async def _prove(deployment: Deployment, rounds: int) -> None:
    operator, key = await _tenant(deployment)
    await _rounds(deployment, key, rounds)
    settled = {row["request_id"] for row in deployment.rows(_SETTLED)}
    assert set(deployment.answered) <= settled  # before anybody swept or reconciled
    calls = _by_call(deployment)
    assert len(calls) == len(deployment.provider.calls)
    async with served(deployment.settings) as server:
        client = ApiClient(server.base_url, operator)
        for _ in range(100):
            entries = {row["call_id"]: row for row in deployment.rows(_TOTALS)}
            if calls.keys() <= entries.keys():
                break
            await asyncio.sleep(0.1)
        _check_entries(calls, entries)
        await _reconcile(deployment, server, operator, calls)
        entries = {row["call_id"]: row for row in deployment.rows(_TOTALS)}
        for call_id, call in calls.items():
            entry = entries[call_id]
            assert (entry["input"], entry["output"]) == (call.prompt_tokens, call.streamed_tokens)
        verified = await client.post("/v1/operator/audit/verify")
        assert verified.body["whole"], verified.body
    _check_conversations(deployment)
    cut = sum(1 for call in calls.values() if call.outcome == "disconnected")
    print(  # noqa: T201  # the figure that `make soak` reports
        f"{rounds} kills, {len(calls)} calls reached the provider, {cut} were cut off,"
        f" {len(deployment.answered)} raw calls were answered whole"
    )


def _check_entries(calls: dict[str, ProviderCall], entries: dict[str, dict[str, Any]]) -> None:
    for call_id, call in calls.items():
        entry = entries[call_id]
        assert entry["entries"] == 1
        if entry["confirmed"]:
            assert entry["output"] == call.reported["completion_tokens"]
            assert entry["input"] == call.reported["prompt_tokens"]
        else:
            assert entry["output"] <= min(call.streamed_tokens, entry["reserved"])


async def _reconcile(
    deployment: Deployment, server: ServerProcess, operator: str, calls: dict[str, ProviderCall]
) -> None:
    export = Path(deployment.settings["TENANTRY_DATA_DIR"]) / "export.csv"
    lines = [f"{i},{c.prompt_tokens},{c.streamed_tokens}" for i, c in calls.items()]
    export.write_text("\n".join(["call_id,input_tokens,output_tokens", *lines]) + "\n")
    settings = {
        **deployment.settings,
        "TENANTRY_BASE_URL": server.base_url,
        "TENANTRY_OPERATOR_KEY": operator,
    }
    status, out, err = await command(settings, "usage", "reconcile", "--json", str(export))
    assert status == 0, err
    assert {row["status"] for row in json.loads(out)} <= {"corrected", "unchanged"}


def _check_conversations(deployment: Deployment) -> None:
    query = (
        "SELECT conversation_id::text AS id, array_agg(role || ':' || status ORDER BY message_no)"
        " AS turns FROM tenantry.messages GROUP BY conversation_id"
    )
    kept = {row["id"]: row["turns"] for row in deployment.rows(query)}
    for turns in kept.values():
        assert [turn.partition(":")[0] for turn in turns] == ["user", "assistant"] * (
            len(turns) // 2
        )
    for told in deployment.completed:
        assert kept[told] == ["user:complete", "assistant:complete"]


@pytest.mark.req("COST-3", "SCALE-2", "SEC-4")
@pytest.mark.timeout(300)
async def test_a_killed_server_leaves_one_entry_a_call_and_whole_conversations(
    deployment: Deployment,
) -> None:
    await _prove(deployment, 6)


@pytest.mark.soak
@pytest.mark.req("COST-3", "SCALE-2", "SEC-4")
@pytest.mark.timeout(900)
async def test_fifty_kills(deployment: Deployment) -> None:
    await _prove(deployment, 50)
