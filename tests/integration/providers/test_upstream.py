"""The raw door: bytes in, bytes out, an account's key to its own address and nowhere else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from tenantry.core.errors import ProviderMalformed, ProviderTimeout, ProviderUnavailable
from tenantry.providers.connecting import Unreached
from tenantry.providers.upstream import HttpUpstream, UpstreamResponse
from tests.integration.providers.conftest import KEY, LONG, SHORT
from tests.providers.replies import Reply, refusing
from tests.providers.scripted import ScriptedProvider

BODY = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": true}'
PATH = "/chat/completions"


@pytest.fixture
async def upstream(provider: ScriptedProvider) -> AsyncIterator[HttpUpstream]:
    upstream = HttpUpstream(provider.url + "/v1/", {"Authorization": f"Bearer {KEY}"}, LONG)
    yield upstream
    await upstream.close()


async def body_of(response: UpstreamResponse) -> bytes:
    return b"".join([chunk async for chunk in response.chunks])


async def raw_server(answer: bytes, *, hold: bool = False) -> tuple[asyncio.Server, str]:
    """A server that says exactly these bytes to everybody."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        with suppress(ConnectionError):
            await writer.drain()
            if hold:
                await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_bytes_and_headers_go_through_and_the_answer_comes_back(
    upstream: HttpUpstream, provider: ScriptedProvider
) -> None:
    provider.queue(Reply("one two", headers={"X-Provider": "yes"}))
    response = await upstream.open(PATH, BODY, {"x-client-request-id": "call-1"})
    assert response.status == 200
    assert response.headers["x-provider"] == "yes"
    assert response.headers["content-type"] == "text/event-stream"
    body = await body_of(response)
    assert body.startswith(b"data: {")
    assert body.endswith(b"data: [DONE]\n\n")
    (call,) = provider.calls
    assert (call.path, call.request_id) == ("/v1/chat/completions", "call-1")
    assert call.headers["content-type"] == "application/json"


@pytest.mark.req("SEC-6")
async def test_the_accounts_key_replaces_whatever_a_client_sent(
    upstream: HttpUpstream, provider: ScriptedProvider
) -> None:
    response = await upstream.open(
        PATH, BODY, {"Authorization": "Bearer client", "Accept-Encoding": "gzip"}
    )
    await body_of(response)
    headers = provider.calls[0].headers
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["accept-encoding"] == "identity"
    assert "cookie" not in headers


@pytest.mark.parametrize("status", [302, 400, 429, 500])
async def test_every_status_is_the_callers_to_judge(
    upstream: HttpUpstream, provider: ScriptedProvider, status: int
) -> None:
    provider.queue(refusing(status, location=f"{provider.url}/v1/models"))
    response = await upstream.open(PATH, BODY, {})
    assert response.status == status
    assert b"refused" in await body_of(response)
    assert len(provider.calls) == 1


@pytest.mark.req("SEC-6")
async def test_no_cookie_and_no_proxy_of_the_environment_is_used(
    upstream: HttpUpstream, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    provider.answer = Reply("x", headers={"Set-Cookie": "session=1; Path=/"})
    for _ in range(2):
        await body_of(await upstream.open(PATH, BODY, {}))
    assert all("cookie" not in call.headers for call in provider.calls)


async def test_an_answer_that_is_too_large_is_cut_off(provider: ScriptedProvider) -> None:
    upstream = HttpUpstream(provider.url + "/v1", patience=LONG, most_response_bytes=10_000)
    provider.answer = Reply("one", fault="endless", fault_after=0)
    response = await upstream.open(PATH, BODY, {})
    with pytest.raises(ProviderMalformed, match="too large"):
        await body_of(response)
    await provider.wait_for(lambda: provider.calls[0].outcome == "disconnected")
    await upstream.close()


async def test_closing_before_the_body_was_begun_hangs_up(
    upstream: HttpUpstream, provider: ScriptedProvider
) -> None:
    provider.answer = Reply("word " * 10_000, token_s=0.002, obey_bound=False)
    response = await upstream.open(PATH, BODY, {})
    response.close()
    response.close()
    await provider.wait_for(lambda: provider.calls[0].outcome == "disconnected")


async def test_waiting_for_headers_and_for_pieces_is_bounded(provider: ScriptedProvider) -> None:
    upstream = HttpUpstream(provider.url + "/v1", patience=SHORT)
    provider.queue(Reply("x", fault="silent"), Reply("one two three", fault="stall"))
    with pytest.raises(ProviderTimeout):
        await upstream.open(PATH, BODY, {})
    with pytest.raises(ProviderTimeout):
        await body_of(await upstream.open(PATH, BODY, {}))
    await upstream.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n\r\n",
    ],
)
async def test_a_body_that_is_cut_short_is_malformed(answer: bytes) -> None:
    server, url = await raw_server(answer)
    upstream = HttpUpstream(url, patience=LONG)
    with pytest.raises(ProviderMalformed):
        await body_of(await upstream.open("/", BODY, {}))
    await upstream.close()
    server.close()


@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\nBad Header\x00: 1\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\n\r\n"],
)  # fmt: skip
async def test_what_is_not_http_is_a_providers_error(answer: bytes) -> None:
    server, url = await raw_server(answer)
    upstream = HttpUpstream(url, {"authorization": KEY}, LONG)
    with pytest.raises((ProviderMalformed, ProviderUnavailable)) as raised:
        await upstream.open("/", BODY, {})
    assert KEY not in str(raised.value)
    await upstream.close()
    server.close()


@pytest.mark.req("SEC-4")
async def test_a_compressed_answer_is_never_unpacked(provider: ScriptedProvider) -> None:
    packed = b"\x1f\x8b" + b"\x00" * 30
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 32\r\n\r\n"
    server, url = await raw_server(head + packed)
    upstream = HttpUpstream(url, patience=LONG)
    response = await upstream.open("/", BODY, {})
    assert response.headers["content-encoding"] == "gzip"
    assert await body_of(response) == packed
    await upstream.close()
    server.close()


async def test_an_address_that_cannot_be_reached_is_unreached() -> None:
    for url in ("http://127.0.0.1:1", "http://no-such-host.invalid"):
        upstream = HttpUpstream(url, {"authorization": KEY}, LONG)
        with pytest.raises(Unreached):
            await upstream.open("/", BODY, {})
        await upstream.close()


async def test_after_closing_a_further_call_opens_anew(
    upstream: HttpUpstream, provider: ScriptedProvider
) -> None:
    for _ in range(2):
        await body_of(await upstream.open(PATH, BODY, {}))
        await upstream.close()
    assert len({call.port for call in provider.calls}) == 2
