"""Each of the two checks with the other one out of the way, and what the audit log keeps."""

import asyncio
import socket

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from tenantry.core.errors import EgressRefused
from tenantry.security.egress.guard import EgressGuard
from tenantry.security.egress.messages import Allowance, EgressRequest
from tenantry.security.egress.policy import EgressPolicy
from tests.integration.security.egress.conftest import Street
from tests.integration.security.egress.forms import PRIVATE, PUBLIC
from tests.sources.dns import UdpResolver
from tests.worlds import World

pytestmark = pytest.mark.req("CON-4")


class _Unchecked(AbstractResolver):
    """A resolver that lets everything through, as if the first check were not there."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        del family
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Nothing to let go of."""


async def _get(street: Street, *addresses: str) -> int:
    connector = street.guard.connector(street.ctx, "http_connector")
    connector._resolver = _Unchecked(*addresses)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(street.url("public.test")) as response,
    ):
        return response.status


async def test_the_socket_is_refused_where_the_resolver_was_not_asked(street: Street) -> None:
    with pytest.raises(EgressRefused):
        await _get(street, PRIVATE)
    assert street.probe.connects == []
    assert street.audit.reasons == ["loopback"]


async def test_a_refusal_that_aiohttp_swallows_is_raised_and_recorded(street: Street) -> None:
    # It goes on to the next address and would answer 200.
    with pytest.raises(EgressRefused):
        await _get(street, PRIVATE, PUBLIC)
    assert PRIVATE not in street.probe.connects
    assert street.probe.requests == []
    assert len(street.audit.events) == 1


async def test_an_answer_that_the_socket_would_let_pass_is_refused_whole(street: Street) -> None:
    # With the public address first, no socket to the private one is ever asked for.
    assert await _get(street, PUBLIC, PRIVATE) == 200
    street.probe.connects.clear()
    street.dns.names["mixed.test"] = [(PUBLIC, PRIVATE)]
    with pytest.raises(EgressRefused):
        await street.fetch(street.url("mixed.test"))
    assert street.probe.connects == []
    assert len(street.audit.events) == 1


@pytest.mark.parametrize("host", ["2130706433", "0177.0.0.1", "127.1", "[::1%251]"])
async def test_a_spelling_that_aiohttp_refuses_itself_is_recorded_too(
    street: Street, host: str
) -> None:
    connector = street.guard.connector(street.ctx, "http_connector")
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(EgressRefused):
            await session.get(street.url(host))
    assert len(street.audit.events) == 1


async def test_attempts_side_by_side_are_told_apart(street: Street) -> None:
    connector = street.guard.connector(street.ctx, "http_connector")
    async with aiohttp.ClientSession(connector=connector) as session:

        async def status(host: str) -> object:
            try:
                async with session.get(street.url(host)) as response:
                    return response.status
            except EgressRefused:
                return "refused"

        hosts = ["public.test", PRIVATE, PUBLIC, "inner.test", PRIVATE] * 4
        found = await asyncio.gather(*(status(host) for host in hosts))
    assert found == [200, "refused", 200, "refused", "refused"] * 4
    assert len(street.audit.events) == 12
    assert set(street.probe.connects) == {PUBLIC}


async def test_a_refused_socket_is_laid_to_its_own_attempt(street: Street) -> None:
    class Slow(_Unchecked):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
        ) -> list[ResolveResult]:
            for _ in range(5):  # long enough for the other attempt to begin
                await asyncio.sleep(0)
            self._addresses = (PRIVATE if host == "inner.test" else PUBLIC,)
            return await super().resolve(host, port, family)

    connector = street.guard.connector(street.ctx, "http_connector")
    connector._resolver = Slow()
    async with aiohttp.ClientSession(connector=connector) as session:
        refused, answered = await asyncio.gather(
            session.get(street.url("inner.test")),
            session.get(street.url("public.test")),
            return_exceptions=True,
        )
        assert isinstance(refused, EgressRefused)
        assert isinstance(answered, aiohttp.ClientResponse)
        answered.release()
    assert [event.detail["host"] for event in street.audit.events] == ["inner.test"]


async def test_a_proxy_is_judged_as_any_address(street: Street) -> None:
    connector = street.guard.connector(street.ctx, "http_connector")
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(EgressRefused):
            await session.get(street.url("public.test"), proxy=street.url(PRIVATE))
    assert street.probe.connects == []


async def test_the_platforms_own_port_is_refused_although_the_range_is_allowed(
    street: Street,
) -> None:
    policy = EgressPolicy.parse("127.0.0.0/8, ::1", [("0.0.0.0", street.probe.port)])
    guard = EgressGuard(street.audit, policy, UdpResolver(street.dns.port))
    for host in (PUBLIC, "inner.test", "[::1]", "127.8.8.8"):
        with pytest.raises(EgressRefused):
            await guard.fetch(
                street.ctx, "webhook", EgressRequest("GET", street.url(host)), Allowance()
            )
    assert street.probe.connects == []
    assert street.audit.reasons == ["the platform's own listener"] * 4


async def test_the_machines_own_resolver_is_asked_by_default(street: Street) -> None:
    guard = EgressGuard(street.audit, EgressPolicy.parse("127.0.0.0/8, ::1"))
    assert set(await guard.resolve(street.ctx, "postgres", "localhost", 5432)) <= {
        "127.0.0.1", "::1",
    }  # fmt: skip
    refusing = EgressGuard(street.audit, EgressPolicy())
    with pytest.raises(EgressRefused):
        await refusing.resolve(street.ctx, "postgres", "localhost", 5432)
    assert len(street.audit.events) == 1


async def test_a_refusal_is_in_the_tenants_own_chain(world: World, street: Street) -> None:
    guard = EgressGuard(world.audit, EgressPolicy(), UdpResolver(street.dns.port))
    url = f"http://user:hunter2@127.0.0.1:{street.probe.port}/?key=hunter2"
    with pytest.raises(EgressRefused) as caught:
        await guard.fetch(world.acme, "webhook", EgressRequest("GET", url), Allowance())
    with pytest.raises(EgressRefused):
        await guard.resolve(world.acme, "postgres", "inner.test", 5432)
    assert caught.value.message == "This address may not be reached from here."
    first, second = await world.audit_events(world.acme)
    assert (first["action"], first["outcome"], first["layer"]) == (
        "egress.refused", "refused", "egress",
    )  # fmt: skip
    assert first["detail"]["reason"] == "user name in a URL"
    assert second["detail"] == {
        "entry": "postgres", "host": "inner.test", "port": 5432, "reason": "loopback",
    }  # fmt: skip
    assert "hunter2" not in str(first) + str(second)
    assert await world.audit_events(world.globex) == []
