"""Bad input and bad days: a clear problem, nothing half-written, the platform goes on."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psycopg
import pytest

from tenantry.core.settings import Settings
from tenantry.db.store import embedded_server
from tenantry.platform import open_platform
from tenantry.security.refused_sign_ins import AT_ONCE
from tests.providers.replies import Reply, refusing
from tests.providers.scripted import ScriptedProvider
from tests.service import Answer, ApiClient, Service, serving_client

MEGABYTE = 1024 * 1024


@pytest.mark.req("VEC-3", "USE-2")
@pytest.mark.parametrize(
    ("name", "content", "status", "code"),
    [
        ("empty.txt", b"", 400, "invalid_request"),
        ("broken.pdf", b"%PDF-1.7\nbroken", 422, "document_unreadable"),
        ("binary.txt", bytes(range(256)) * 20, 422, "document_unreadable"),
        ("program.exe", b"MZ\x00\x01", 415, "unsupported_media"),
        ("bomb.docx", b"PK\x03\x04", 422, "document_unreadable"),
    ],
)
async def test_a_bad_document_is_refused_with_the_reason(
    service: Service, name: str, content: bytes, status: int, code: str
) -> None:
    refused = await service.acme.upload("/v1/documents", name, content)
    assert (refused.status, refused.body["code"]) == (status, code)
    assert (await service.acme.get("/v1/documents")).body["data"] == []


@pytest.mark.req("USE-2")
async def test_200_megabytes_are_refused_before_they_are_stored(service: Service) -> None:
    announced = await service.acme.upload("/v1/documents", "huge.txt", b"x" * (200 * MEGABYTE))
    assert (announced.status, announced.body["code"]) == (413, "too_large")

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b"x" * MEGABYTE

    headers = {
        "authorization": f"Bearer {service.acme.credential}",
        "content-type": "multipart/form-data; boundary=x",
    }
    url = service.base_url + "/v1/documents"
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data=endless(), headers=headers) as response,
        ):
            assert response.status in {400, 413}
    except aiohttp.ClientConnectionError:
        pass  # the server hung up on a body without end
    assert (await service.acme.get("/v1/documents")).body["data"] == []


@pytest.mark.req("CON-1", "USE-2")
@pytest.mark.parametrize(
    ("name", "table", "content", "status"),
    [
        ("a.csv", "a", b"", 400),
        ("a.csv", "Bad Name", b"x\n1\n", 400),
        ("a.parquet", "a", b"PAR1 not really PAR1", 422),
        ("a.csv", "a", b'x,y\n"unclosed', 422),
    ],
)
async def test_a_bad_table_is_refused_with_the_reason(
    service: Service, name: str, table: str, content: bytes, status: int
) -> None:
    made = await service.acme.post("/v1/connectors", {"name": "warehouse"})
    path = f"/v1/connectors/{made.body['id']}/tables"
    refused = await service.acme.upload(path, name, content, {"table": table})
    assert refused.status in {status, 400, 422}, refused.body
    assert refused.body["detail"]
    assert (await service.acme.get(path)).body["data"] == []


@pytest.mark.req("USE-1")
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b'{"model": "analyst"}', 400),
        (b'{"model": "nobody", "messages": [{"role": "user", "content": "x"}]}', 404),
        (b'{"model": "no/body", "messages": [{"role": "user", "content": "x"}]}', 404),
        (b'{"model": "analyst", "messages": [{"role": "tool", "content": "x"}]}', 400),
        (b'{"model": "analyst", "messages": [{"role": "user", "content": [{"type": "x"}]}]}', 400),
        (b'{"model": "analyst", "messages": [{"role": "user", "content": "x"}], "tools": [1]}',
         400),
        (b'{"model": "analyst", "messages": [{"role": "user", "content": "x"}], '
         b'"conversation_id": "nonsense"}', 404),
    ],
)  # fmt: skip
async def test_a_bad_chat_request_is_a_problem_document(
    service: Service, body: bytes, status: int
) -> None:
    answer = await service.acme.call("POST", "/v1/chat/completions", data=body)
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await service.acme.get("/v1/conversations")).body["data"] == []


async def _scribe(service: Service) -> None:
    body = {"name": "scribe", "instructions": "Be brief.", "model": "scripted/scripted-1"}
    assert (await service.acme.post("/v1/assistants", body)).status == 201


@pytest.mark.req("USE-1", "COST-3")
@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (refusing(401, "bad key sk-scripted-secret"), 502),
        (refusing(500), 503),
        (Reply("one two three", fault="garbage"), 502),
        (Reply("one two three", fault="no_end"), 502),
        (Reply("one two three", fault="cut"), 502),
    ],
)
async def test_a_failing_model_leaves_a_whole_conversation_and_a_settled_call(
    modelled: Service, provider: ScriptedProvider, reply: Reply, status: int
) -> None:
    await _scribe(modelled)
    provider.answer = reply
    answer = await modelled.acme.ask("Say something.", "scribe")
    assert answer.status == status, answer.body
    assert "sk-scripted-secret" not in str(answer.body)
    (kept,) = (await modelled.acme.get("/v1/conversations")).body["data"]
    turn = (await modelled.acme.get(f"/v1/conversations/{kept['id']}")).body["messages"]
    assert [m["role"] for m in turn] == ["user", "assistant"]
    assert turn[1]["status"] == "failed"
    events = (await modelled.acme.get("/v1/usage/events")).body["data"]
    kinds = [e["kind"] for e in events if e["operation"] == "chat"]
    assert sorted(set(kinds) - {"progress"}) == ["intent", "settled"]


@pytest.mark.req("USE-1")
async def test_a_model_that_fails_mid_stream_ends_the_stream_with_an_error_event(
    modelled: Service, provider: ScriptedProvider
) -> None:
    await _scribe(modelled)
    provider.answer = Reply("one two three four", fault="garbage", fault_after=2)
    body = {
        "model": "scribe",
        "messages": [{"role": "user", "content": "x"}],
        "stream": True,
    }
    answer = await modelled.acme.post("/v1/chat/completions", body)
    events = [line for line in str(answer.body).splitlines() if line.startswith("data: ")]
    assert '"error"' in events[-1]
    assert "provider_malformed" in events[-1]
    assert "[DONE]" not in events[-1]


@pytest.mark.req("SCALE-2")
@pytest.mark.timeout(120)
async def test_a_database_that_restarts_under_load_gives_503_and_then_answers_again(
    deployment_dir: Path,
) -> None:
    with embedded_server(deployment_dir, deployment_dir / "secrets.json") as store:
        async with (
            open_platform(Settings(data_dir=deployment_dir)) as platform,
            serving_client(platform) as (operator, key),
        ):
            answers = await _hammered(ApiClient(operator.base_url, key), store.admin_url)
            assert {a.status for a in answers} <= {200, 503}
            refused = [a for a in answers if a.status == 503]
            assert all(a.body["code"] == "store_unavailable" for a in refused)
            assert all("retry-after" in a.headers for a in refused)
            assert (await _eventually(ApiClient(operator.base_url, key))).status == 200
            assert (await _eventually(operator, "/v1/tenants")).status == 200


async def _eventually(client: ApiClient, path: str = "/v1/documents") -> Answer:
    """The first good answer, or the last one of 100: each ended connection may give one 503."""
    for _ in range(100):
        answer = await client.get(path)
        if answer.status == 200:
            break
        await asyncio.sleep(0.1)
    return answer


async def _hammered(client: ApiClient, admin_url: str) -> list[Answer]:
    """Answers to requests that never pause, while every connection is cut five times."""
    answers: list[Answer] = []
    stop = asyncio.Event()

    async def hammer() -> None:
        while not stop.is_set():
            answers.append(await client.get("/v1/documents"))

    hammering = [asyncio.create_task(hammer()) for _ in range(4)]
    await asyncio.sleep(0.5)
    await _terminate_backends(admin_url)
    await asyncio.sleep(1.0)
    stop.set()
    await asyncio.gather(*hammering)
    return answers


async def _terminate_backends(admin_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(admin_url, autocommit=True) as admin:
        for _ in range(5):
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
            await asyncio.sleep(0.05)


@pytest.mark.req("SEC-4", "SEC-6")
async def test_a_flood_of_wrong_credentials_is_counted_and_cannot_fill_the_log(
    service: Service,
) -> None:
    stranger = service.client("tnt_live_nobody")
    answers = [await stranger.get("/v1/tenant") for _ in range(AT_ONCE + 10)]
    assert {answer.status for answer in answers} == {401}
    await service.platform.upkeep.base.refused.close()
    log = (await service.operator.get("/v1/operator/audit?limit=1000")).body["data"]
    found = [event for event in log if event["action"] == "key.unknown"]
    assert len(found) == AT_ONCE + 1
    assert {event["detail"]["source"] for event in found} == {"127.0.0.1"}
    assert (found[0]["detail"]["further"], found[0]["detail"]["targets"]) == (10, 1)
