"""Nonsense sent to models: a problem names the fault, nothing is sent upstream or billed."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.api.wired import CHAT, CLAUDE, MESSAGES, OPENAI, RESPONSES, SAID, Wired, wired_platform
from tests.worlds import Cluster

pytestmark = pytest.mark.asyncio(loop_scope="module")
HEAD = b'{"model": "scripted/scripted-1", "messages": [{"role": "user", "content": "hi"}]'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Wired]:
    async with wired_platform(cluster, tmp_path_factory.mktemp("nonsense")) as wired:
        yield wired


@pytest.fixture
def wired(served: Wired) -> Wired:
    served.forget()
    return served


def _nothing_happened(wired: Wired) -> bool:
    return not wired.provider.calls and not wired.rows("intent", "settled")


@pytest.mark.req("USE-1", "LIM-1")
@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"", 400, "JSON"),
        (b"{", 400, "JSON"),
        (b"[1]", 400, "object"),
        (b'{"model": "scripted/scripted-1", "messages": "\xff\xfe"}', 400, "JSON"),
        (b'{"model": "scripted/scripted-1", "x": "\\ud800"}', 400, "JSON"),
        (b'{"model": "scripted/scripted-1", "x": NaN}', 400, "JSON"),
        (b'{"model": "scripted/none", "messages": [{}]}', 404, "model"),
        (b'{"model": "nobody/scripted-1", "messages": [{}]}', 404, "model"),
        (b'{"model": "../scripted-1", "messages": [{}]}', 404, "model"),
        (b'{"model": 7, "messages": [{}]}', 400, "model"),
        (HEAD + b', "model": "scripted/scripted-2"}', 400, "model"),
        (HEAD + b', "Model": "scripted/scripted-2"}', 400, "model"),
        (HEAD + b', "max_tokens": -5}', 400, "max_tokens"),
        (HEAD + b', "max_tokens": 1e99}', 400, "max_tokens"),
        (HEAD + b', "max_tokens": 99999999999999999999999}', 400, "max_tokens"),
        (HEAD + b', "n": -1}', 400, "n:"),
        (HEAD + b', "n": 1000000}', 400, "n:"),
        (HEAD + b', "stream": "yes"}', 400, "stream"),
        (HEAD + b', "tenant_id": "x"}', 403, "tenant_id"),
        (HEAD + b', "tools": [' + b",".join([b'{"type":""}'] * 10_000) + b"]}", 400, "tools"),
        (HEAD[:-3] + b"x" * 5_000_000 + b'"}]}', 413, "text"),
        (HEAD[:-3] + b"x" * 9_000_000 + b'"}]}', 413, "bytes"),
        (HEAD + b', "x": ' + b"[" * 2000 + b"]" * 2000 + b"}", 400, "JSON"),
        (HEAD + b', "x": [' + b"[]," * 500_000 + b"0]}", 400, "objects and lists"),
    ],
)  # fmt: skip
async def test_a_bad_chat_completion(wired: Wired, body: bytes, status: int, told: str) -> None:
    answer = await wired.post(CHAT, body)
    assert (answer.status, told in answer.body["detail"]) == (status, True), answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert _nothing_happened(wired)


@pytest.mark.req("USE-1")
@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (MESSAGES, {"model": CLAUDE}, 400),
        (MESSAGES, {"model": CLAUDE, "messages": SAID, "max_tokens": "many"}, 400),
        (MESSAGES, {"model": CLAUDE, "messages": SAID, "tools": [7]}, 400),
        (MESSAGES, {"model": CLAUDE, "messages": [{"content": {"type": ["x"]}}], "tools": {}}, 400),
        (RESPONSES, {"model": OPENAI}, 400),
        (RESPONSES, {"model": OPENAI, "input": {"a": 1}}, 400),
        (RESPONSES, {"model": OPENAI, "input": "x", "max_output_tokens": 0}, 400),
        (RESPONSES, {"model": "analyst", "input": [7]}, 400),
        (RESPONSES, {"model": "analyst", "input": "x", "previous_response_id": "r"}, 400),
        (RESPONSES, {"model": "analyst", "input": "x", "text": {"format": {"type": "j"}}}, 400),
        (RESPONSES, {"model": "analyst", "input": "x", "conversation": "nonsense"}, 404),
        (RESPONSES, {"model": "nobody", "input": "x"}, 404),
    ],
)
async def test_a_bad_request_of_another_api(
    wired: Wired, path: str, body: dict[str, object], status: int
) -> None:
    answer = await wired.post(path, body)
    assert answer.status == status, answer.body
    assert answer.body["detail"]
    assert _nothing_happened(wired)


@pytest.mark.req("USE-1", "SEC-6")
@pytest.mark.parametrize(
    "line",
    [
        b"anthropic-beta: a\r\n\tb: c",
        b"anthropic-beta: a\x00b",
        b"anthropic-beta: a; x-api-key=evil",
        b"anthropic-version: caf\xc3\xa9",
        b"idempotency-key: \xff",
    ],
)
async def test_a_header_carries_no_other(wired: Wired, line: bytes) -> None:
    body = json.dumps({"model": CLAUDE, "messages": SAID}).encode()
    answer = await _raw(wired, MESSAGES, body, line)
    assert answer.startswith(b"HTTP/1.1 400"), answer
    assert _nothing_happened(wired)


@pytest.mark.req("USE-1", "SCALE-2")
async def test_a_body_that_trickles_in_is_not_waited_for(wired: Wired) -> None:
    reader, writer = await _connected(wired)
    writer.write(_head(wired, CHAT, 1000) + b"\r\n{")
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 408"), answer
    assert b"too_slow" in answer
    assert _nothing_happened(wired)


async def _raw(wired: Wired, path: str, body: bytes, line: bytes) -> bytes:
    reader, writer = await _connected(wired)
    writer.write(_head(wired, path, len(body)) + line + b"\r\nconnection: close\r\n\r\n" + body)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer


async def _connected(wired: Wired) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    port = int(wired.service.base_url.rsplit(":", 1)[1])
    return await asyncio.open_connection("127.0.0.1", port)


def _head(wired: Wired, path: str, length: int) -> bytes:
    credential = wired.service.acme.credential
    return (
        f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {credential}\r\n"
        f"content-type: application/json\r\ncontent-length: {length}\r\n"
    ).encode()
