"""A connector's calls and its credential reach the one host of its configuration, and no other."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web

from tenantry.connectors.base import QueryLimits
from tenantry.core.errors import (
    EgressRefused,
    InvalidRequest,
    NotFound,
    QueryFailed,
    SourceUnreachable,
)
from tenantry.core.secret import Secret
from tests.integration.connectors.http.conftest import TOKEN, Api, Desk

pytestmark = pytest.mark.req("CON-4")
LIMITS = QueryLimits(timeout_s=5.0)
BEARER: dict[str, Any] = {"auth": {"kind": "bearer"}}
Serve = Callable[[], Awaitable[Api]]


def redirecting(to: str, status: int) -> Any:
    """An answer that leads elsewhere."""

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/v1/orders":
            return web.Response(status=status, headers={"Location": to})
        return web.json_response({"at": request.path})

    return handler


@pytest.mark.req("SEC-4")
async def test_a_redirect_to_another_origin_is_refused_and_nothing_is_sent_there(
    desk: Desk, serve: Serve
) -> None:
    other = await serve()
    source = await desk.source({"token": TOKEN}, **BEARER)
    for status in (301, 302, 303, 307, 308):
        desk.api.handler = redirecting(f"{other.url}/v1/steal", status)
        with pytest.raises(EgressRefused):
            await source.call("listOrders", {}, LIMITS)
    assert other.seen == []
    events = await desk.refusals(desk.world.acme)
    assert len(events) == 5
    assert TOKEN not in str(events)


async def test_a_redirect_inwards_is_refused(desk: Desk) -> None:
    source = await desk.source()
    for to in ("http://169.254.169.254/latest", "file:///etc/passwd", "http://[::1]:1/"):
        desk.api.handler = redirecting(to, 302)
        with pytest.raises(EgressRefused):
            await source.call("listOrders", {}, LIMITS)
    assert len(await desk.refusals(desk.world.acme)) == 3


async def test_a_redirect_to_another_name_is_refused_before_it_is_looked_up(desk: Desk) -> None:
    source = await desk.source({"token": TOKEN}, **BEARER)
    port = desk.api.url.rpartition(":")[2]
    desk.api.handler = redirecting(f"http://localhost:{port}/v1/other", 302)
    with pytest.raises(EgressRefused):
        await source.call("listOrders", {}, LIMITS)
    (event,) = await desk.refusals(desk.world.acme)
    assert event["detail"]["reason"] == "host not of this connector"


async def test_a_redirect_within_the_host_is_followed(desk: Desk) -> None:
    source = await desk.source({"token": TOKEN}, **BEARER)
    desk.api.handler = redirecting("/v1/orders/", 308)
    answer: Any = await source.call("listOrders", {}, LIMITS)
    assert answer["body"] == {"at": "/v1/orders/"}
    assert desk.api.calls[-1].headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.req("POOL-4")
async def test_another_base_url_needs_the_secret_anew(desk: Desk, serve: Serve) -> None:
    other = await serve()
    config = (await desk.add(desk.world.acme, {"token": TOKEN}, **BEARER)).config
    for changed in (
        {"base_url": f"{other.url}/v1"},
        {"base_url": f"{desk.api.url}/elsewhere"},
        {"auth": {"kind": "api_key", "in": "query", "name": "k"}},
    ):
        with pytest.raises(InvalidRequest, match="secrets again"):
            await desk.catalog.change(
                desk.world.acme, config.connector, desk.options(**{**BEARER, **changed})
            )
    assert other.seen == []
    options = desk.options(base_url=f"{other.url}/v1", **BEARER)
    changed_to = await desk.catalog.change(
        desk.world.acme, config.connector, options, {"token": Secret("another-token")}
    )
    await desk.catalog.operation_source(desk.world.acme, changed_to.config).call(
        "listOrders", {}, LIMITS
    )
    assert other.calls[0].headers["Authorization"] == "Bearer another-token"


@pytest.mark.req("POOL-4")
async def test_what_is_stored_can_be_sent_back_with_the_secret_kept(desk: Desk) -> None:
    config = (await desk.add(desk.world.acme, {"token": TOKEN}, **BEARER)).config
    changed = await desk.catalog.change(desk.world.acme, config.connector, dict(config.options))
    assert changed.config.options == config.options
    source = desk.catalog.operation_source(desk.world.acme, changed.config)
    await source.call("listOrders", {}, LIMITS)
    assert desk.api.calls[0].headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.req("POOL-4")
async def test_a_stored_connector_holds_no_secret(desk: Desk) -> None:
    await desk.add(desk.world.acme, {"token": TOKEN}, **BEARER)
    with desk.world.admin() as connection:
        rows = connection.execute(
            "SELECT c::text || coalesce((SELECT string_agg(v::text, '') FROM "
            "tenantry.vault_secrets v), '') FROM tenantry.connectors c"
        ).fetchall()
    assert rows
    assert TOKEN not in str(rows)


@pytest.mark.req("DB-1")
async def test_a_neighbour_finds_neither_the_connector_nor_its_secret(desk: Desk) -> None:
    config = (await desk.add(desk.world.acme, {"token": TOKEN}, **BEARER)).config
    with pytest.raises(NotFound):
        await desk.catalog.find(desk.world.globex, "shop")
    stolen = desk.catalog.operation_source(desk.world.globex, config)
    with pytest.raises(NotFound):
        await stolen.call("listOrders", {}, LIMITS)
    assert desk.api.calls == []


# --- adding one -------------------------------------------------------------------------------


@pytest.mark.req("CON-2")
async def test_a_wrong_base_url_is_a_clear_error(desk: Desk) -> None:
    cases: list[tuple[Any, type[Exception]]] = [
        ("http://169.254.169.254/latest", EgressRefused),
        ("http://10.0.0.1/v1", EgressRefused),
        ("http://127.0.0.2:80/v1", EgressRefused),
        ("http://[::1]:8080/v1", EgressRefused),
        ("http://127.0.0.1:1/v1", SourceUnreachable),
        ("http://nowhere.invalid/v1", SourceUnreachable),
        ("ftp://api.test/v1", InvalidRequest),
        ("http://user:pw@api.test/v1", InvalidRequest),
        ("http://api.test/v1?x=1", InvalidRequest),
        ("http://api.test/v1#x", InvalidRequest),
        ("http://api.test/../v1", InvalidRequest),
        ("http://api.test:99999/v1", InvalidRequest),
        ("http://api.test\\@evil.test/", InvalidRequest),
        ("//api.test", InvalidRequest),
        ("x", InvalidRequest),
        (7, InvalidRequest),
    ]
    for base_url, error in cases:
        with pytest.raises(error):
            await desk.add(desk.world.acme, base_url=base_url)
    assert await desk.catalog.list_connectors(desk.world.acme, UUID(int=0), 9) == []


@pytest.mark.req("CON-2")
async def test_a_server_that_sends_garbage_is_a_clear_error(desk: Desk) -> None:
    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"\x00\xff garbage\r\n\r\n" * 100)
        writer.close()

    server = await asyncio.start_server(garbage, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(QueryFailed):
            await desk.add(desk.world.acme, base_url=f"http://127.0.0.1:{port}")


@pytest.mark.req("CON-2")
async def test_a_secret_that_does_not_fit_is_a_clear_error(desk: Desk) -> None:
    cases: list[tuple[dict[str, str], Any, str]] = [
        ({}, {"kind": "bearer"}, "token is missing"),
        ({"password": "x"}, {"kind": "bearer"}, "no secret password"),
        ({"token": "x"}, None, "no secret token"),
        ({"token": "a\r\nb: c"}, {"kind": "bearer"}, "cannot be sent"),
        ({"user": "x"}, None, "no secret 'user'"),
    ]
    for secrets, auth, says in cases:
        with pytest.raises(InvalidRequest, match=says):
            await desk.add(desk.world.acme, secrets, auth=auth)
