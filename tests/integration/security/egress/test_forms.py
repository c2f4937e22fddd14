"""Every way of writing a forbidden address, at each of the nine entry points."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import get_args

import aiohttp
import pytest
from yarl import URL

from tenantry.connectors.http_credentials import Authentication, Credentials
from tenantry.connectors.mcp_client import McpSession, in_session
from tenantry.connectors.mcp_http import HttpWay, Server
from tenantry.connectors.option_values import BaseUrl
from tenantry.core.clock import SystemClock
from tenantry.core.errors import EgressRefused, QueryFailed, TenantryError
from tenantry.providers.connecting import Trust
from tenantry.providers.own.guarded import GuardedUpstream
from tenantry.providers.upstream import Patience
from tenantry.security.egress.guard import EgressGuard
from tenantry.security.egress.messages import Allowance, EgressRequest
from tenantry.security.egress.policy import EgressPolicy, EntryPoint
from tests.integration.security.egress.conftest import Street
from tests.integration.security.egress.forms import FORMS, NAMES, PRIVATE, PUBLIC
from tests.sources.dns import UdpResolver

_ENTRIES: tuple[EntryPoint, ...] = get_args(EntryPoint)
_SHORT = Allowance(timeout_s=3)


async def _database(street: Street, guard: EgressGuard, entry: EntryPoint, host: str) -> None:
    # What a driver does: it connects to the literals that it was given, and to nothing else.
    for address in await guard.resolve(street.ctx, entry, host, street.probe.port):
        with suppress(OSError):
            _, writer = await asyncio.open_connection(address, street.probe.port)
            writer.close()


async def _fetched(street: Street, guard: EgressGuard, entry: EntryPoint, host: str) -> None:
    await guard.fetch(street.ctx, entry, EgressRequest("GET", street.url(host)), _SHORT)


async def _spoken_mcp(street: Street, guard: EgressGuard, entry: EntryPoint, host: str) -> None:
    # A session by the official SDK over the connector's own transport. Options would refuse most
    # forms before; the address is put in behind their back.
    assert entry == "mcp"
    base = BaseUrl(street.url(host), "", host, street.probe.port)
    server = Server(base, Credentials(Authentication()), guard, SystemClock())
    with suppress(QueryFailed):  # the probe speaks no MCP
        await in_session(HttpWay(street.ctx, server, 3), "2025-11-25", 3, McpSession.tools)


async def _called(street: Street, guard: EgressGuard, entry: EntryPoint, host: str) -> None:
    # The client of a tenant's own account, with an address that no form was checked for.
    base, headers = street.url(host, ""), {"authorization": "Bearer s"}
    own = GuardedUpstream(guard, street.ctx.tenant, base, headers, Patience(3), Trust())
    assert entry == "provider_account"
    try:
        response = await own.asked_by(street.ctx).open("/chat/completions", b"{}", {})
        assert [chunk async for chunk in response.chunks]
    finally:
        await own.close()


_Way = Callable[[Street, EgressGuard, EntryPoint, str], Awaitable[None]]
_WAYS: dict[str, _Way] = {
    "postgres": _database,
    "mysql": _database,
    "mcp": _spoken_mcp,
    "provider_account": _called,
}


def test_there_are_at_least_sixty_forms_and_nine_entry_points() -> None:
    assert len(set(FORMS)) == len(FORMS) >= 60
    assert len(_ENTRIES) == 9


@pytest.mark.req("CON-4")
@pytest.mark.parametrize("entry", _ENTRIES)
async def test_no_form_connects_and_each_is_one_event(street: Street, entry: EntryPoint) -> None:
    street.dns.names |= NAMES
    wrong = []
    for form in FORMS:
        # The allowance of the street covers 127.0.0.1 itself; here nothing at all is allowed
        # for forms that mean it, and mixed answers keep their public half.
        mixed = form.startswith(("public-first", "private-first", "four-public"))
        policy = EgressPolicy.parse(PUBLIC if mixed else "")
        guard = EgressGuard(street.audit, policy, UdpResolver(street.dns.port))
        outcome = "reached"
        try:
            await _WAYS.get(entry, _fetched)(street, guard, entry, form)
        except EgressRefused:
            outcome = "refused"
        except TenantryError as error:
            outcome = error.code
        events, street.audit.events = street.audit.events, []
        told = [(e.action, e.outcome, e.detail["entry"], e.tenant) for e in events]
        if outcome != "refused" or told != [
            ("egress.refused", "refused", entry, street.ctx.tenant)
        ]:
            wrong.append((form, outcome, told))
        shown = str(events)
        assert "hunter2" not in shown
        assert "Bearer" not in shown
    assert wrong == []
    assert street.probe.connects == []


@pytest.mark.req("CON-4")
async def test_the_bare_connector_connects_to_none_of_them(street: Street) -> None:
    street.dns.names |= NAMES
    guard = EgressGuard(street.audit, EgressPolicy(), UdpResolver(street.dns.port))
    recorded = 0
    for form in FORMS:
        try:
            url = URL(street.url(form))
        except ValueError:
            continue  # cannot be asked for at all
        connector = guard.connector(street.ctx, "jwks")
        async with aiohttp.ClientSession(connector=connector) as session:
            try:
                async with session.get(url) as response:
                    pytest.fail(f"{form} answered {response.status}")
            except EgressRefused:
                recorded += 1
                assert len(street.audit.events) == recorded, form
            except (aiohttp.ClientError, ValueError):
                assert len(street.audit.events) == recorded, form
    assert recorded > 60
    assert street.probe.connects == []


@pytest.mark.req("CON-4")
@pytest.mark.parametrize("entry", _ENTRIES)
async def test_the_probe_is_reached_where_it_is_allowed(street: Street, entry: EntryPoint) -> None:
    # Otherwise the tests above would prove nothing.
    for host in ("public.test", PUBLIC):
        await _WAYS.get(entry, _fetched)(street, street.guard, entry, host)
    assert street.probe.connects == [PUBLIC, PUBLIC]
    assert street.audit.events == []


@pytest.mark.req("CON-4")
@pytest.mark.parametrize("entry", _ENTRIES)
async def test_a_name_that_is_bound_anew_is_judged_anew(street: Street, entry: EntryPoint) -> None:
    street.dns.names["rebound.test"] = [(PUBLIC,), (PRIVATE,)]
    way = _WAYS.get(entry, _fetched)
    await way(street, street.guard, entry, "rebound.test")
    with pytest.raises(EgressRefused):
        await way(street, street.guard, entry, "rebound.test")
    assert street.probe.connects == [PUBLIC]
    assert street.audit.reasons == ["loopback"]


@pytest.mark.req("CON-4")
@pytest.mark.parametrize("entry", _ENTRIES)
async def test_one_look_up_serves_both_checks(street: Street, entry: EntryPoint) -> None:
    # A second look-up could be answered otherwise, and each costs a round trip.
    street.dns.names["changing.test"] = [(PUBLIC,), (PRIVATE,)]
    await _WAYS.get(entry, _fetched)(street, street.guard, entry, "changing.test")
    assert street.dns.asked == {("changing.test", "A"): 1, ("changing.test", "AAAA"): 1}
    assert street.probe.connects == [PUBLIC]
