"""What a source may send us on to, and what goes with us."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tenantry.core.errors import EgressRefused, InvalidRequest, SourceUnreachable
from tenantry.security.egress.messages import Allowance, EgressRequest
from tests.integration.security.egress.conftest import Street
from tests.integration.security.egress.forms import PRIVATE, PUBLIC
from tests.sources.certificates import Authority
from tests.sources.probe import OK, Probe

pytestmark = pytest.mark.req("CON-4")
_SECRETS = {
    "Authorization": "Bearer hunter2", "Cookie": "sid=hunter2", "X-Api-Key": "hunter2",
    "X-Anything": "hunter2", "Accept": "application/json",
}  # fmt: skip


def moved(location: str, status: int = 302, extra: str = "") -> bytes:
    return (
        f"HTTP/1.1 {status} Moved\r\nlocation: {location}\r\n{extra}content-length: 0\r\n\r\n"
    ).encode()


def first_then_ok(first: bytes) -> Callable[[str, bytes], bytes]:
    return lambda _, request: first if request.split(b" ")[1] == b"/" else OK


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("host", ["127.0.0.2", "inner.test", "[::1]", "2130706434", "a@127.0.0.2"])
async def test_a_redirect_inwards_is_refused_and_recorded(
    street: Street, host: str, status: int
) -> None:
    street.probe.respond = lambda _, __: moved(street.url(host, "/in"), status)
    with pytest.raises(EgressRefused):
        await street.fetch(street.url("public.test"))
    assert street.probe.connects == [PUBLIC]
    assert len(street.audit.events) == 1


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd", "gopher://127.0.0.1/_x", "ftp://public.test/", "javascript:1",
        "data:text/plain,x", "unix:/run/x.sock", "//127.0.0.2/", "///127.0.0.2/", "http://",
        "http:\\\\127.0.0.2", "/\\127.0.0.2/", "http://public.test:99999/", "http://[::1/",
        "http://public.test:x/", "ws://public.test/", "http://public.test@127.0.0.2/",
    ],
)  # fmt: skip
async def test_a_redirect_elsewhere_than_the_web_is_refused(street: Street, location: str) -> None:
    street.probe.respond = first_then_ok(moved(location))
    allowance = Allowance(hosts=frozenset({"public.test"}), timeout_s=5)
    with pytest.raises(EgressRefused):
        await street.fetch(street.url("public.test"), allowance=allowance)
    assert street.probe.connects == [PUBLIC]
    assert len(street.audit.events) == 1


async def test_a_name_rebound_between_two_hops_is_judged_again(street: Street) -> None:
    street.dns.names["rebound.test"] = [(PUBLIC,), (PRIVATE,)]
    street.probe.respond = first_then_ok(moved("/next"))
    with pytest.raises(EgressRefused):
        await street.fetch(street.url("rebound.test"))
    assert street.probe.connects == [PUBLIC]
    assert street.audit.reasons == ["loopback"]


async def test_a_cookie_set_on_the_way_is_not_sent_on(street: Street) -> None:
    street.probe.respond = first_then_ok(moved("/next", extra="set-cookie: sid=1; path=/\r\n"))
    await street.fetch(street.url("public.test"))
    assert [b"ookie" in request for request in street.probe.requests] == [False, False]


async def test_a_redirect_within_the_origin_keeps_the_credential(street: Street) -> None:
    street.probe.respond = first_then_ok(moved("/next"))
    url = street.url("public.test")
    response = await street.fetch(url, EgressRequest("GET", url, _SECRETS))
    assert (response.status, response.url) == (200, street.url("public.test", "/next"))
    assert all(b"Bearer hunter2" in request for request in street.probe.requests)


@pytest.mark.parametrize("host", ["other.test", PUBLIC])
async def test_no_credential_goes_to_another_origin(street: Street, host: str) -> None:
    street.dns.names["other.test"] = [(PUBLIC,)]
    street.probe.respond = first_then_ok(moved(street.url(host, "/next")))
    url = street.url("public.test")
    assert (await street.fetch(url, EgressRequest("GET", url, _SECRETS))).body == b"ok"
    first, second = street.probe.requests
    assert first.count(b"hunter2") == 4
    assert b"hunter2" not in second
    assert b"application/json" in second


async def test_another_port_is_another_origin(street: Street) -> None:
    async with Probe().listening() as other:
        street.probe.respond = lambda _, __: moved(f"http://public.test:{other.port}/next")
        url = street.url("public.test")
        await street.fetch(url, EgressRequest("GET", url, _SECRETS))
        assert b"hunter2" not in other.requests[0]


async def test_a_credential_dropped_once_stays_dropped(street: Street) -> None:
    street.dns.names["other.test"] = [(PUBLIC,)]
    steps = {
        b"/": moved(street.url("other.test", "/1")),
        b"/1": moved(street.url("public.test", "/2")),
    }
    street.probe.respond = lambda _, request: steps.get(request.split(b" ")[1], OK)
    url = street.url("public.test")
    await street.fetch(url, EgressRequest("GET", url, _SECRETS))
    assert [b"hunter2" in request for request in street.probe.requests] == [True, False, False]


@pytest.mark.parametrize("status", [307, 308])
async def test_a_body_does_not_follow_to_another_origin(street: Street, status: int) -> None:
    street.dns.names["other.test"] = [(PUBLIC,)]
    street.probe.respond = first_then_ok(moved(street.url("other.test", "/next"), status))
    url = street.url("public.test")
    with pytest.raises(EgressRefused):
        await street.fetch(url, EgressRequest("POST", url, {}, b"client_secret=hunter2"))
    assert len(street.probe.requests) == 1
    assert street.audit.reasons == ["redirect of a body to another origin"]


@pytest.mark.parametrize(
    ("method", "status", "second"),
    [
        ("POST", 301, b"GET"), ("POST", 302, b"GET"), ("POST", 303, b"GET"), ("POST", 307, b"POST"),
        ("PUT", 302, b"PUT"), ("DELETE", 303, b"GET"), ("HEAD", 303, b"HEAD"),
    ],
)  # fmt: skip
async def test_a_redirect_changes_the_method_as_browsers_do(
    street: Street, method: str, status: int, second: bytes
) -> None:
    street.probe.respond = first_then_ok(moved("/next", status))
    url = street.url("public.test")
    body = b"{}" if method in {"POST", "PUT"} else None
    await street.fetch(url, EgressRequest(method, url, {"Content-Type": "application/json"}, body))
    sent = street.probe.requests[1]
    assert sent.split(b" ")[0] == second
    assert sent.endswith(b"{}") == (second in {b"POST", b"PUT"})
    assert (b"Content-Type" in sent or b"content-type" in sent) == (second != b"GET")


@pytest.mark.parametrize(("turns", "answered"), [(3, True), (4, False)])
async def test_three_redirects_are_followed_and_a_fourth_is_refused(
    street: Street, turns: int, answered: bool
) -> None:
    def respond(_: str, request: bytes) -> bytes:
        turn = int(request.split(b" ")[1][1:] or b"0")
        return moved(f"/{turn + 1}") if turn < turns else OK

    street.probe.respond = respond
    if answered:
        assert (await street.fetch(street.url("public.test"))).body == b"ok"
        assert street.audit.events == []
    else:
        with pytest.raises(EgressRefused):
            await street.fetch(street.url("public.test"))
        assert street.audit.reasons == ["too many redirects"]
    assert len(street.probe.requests) == 4


async def test_a_refresh_header_and_a_redirect_without_location_are_not_followed(
    street: Street,
) -> None:
    headers = f"refresh: 0; url={street.url(PRIVATE)}\r\n"
    street.probe.respond = lambda _, __: (
        f"HTTP/1.1 302 Found\r\n{headers}content-length: 0\r\n\r\n".encode()
    )
    assert (await street.fetch(street.url("public.test"))).status == 302
    assert street.probe.connects == [PUBLIC]


@pytest.mark.parametrize(
    ("allowance", "reason"),
    [
        (Allowance(hosts=frozenset({"public.test"})), "host not of this connector"),
        (Allowance(ports=frozenset({443})), "port not of this connector"),
    ],
)
async def test_hosts_and_ports_of_a_connector_hold(
    street: Street, allowance: Allowance, reason: str
) -> None:
    street.dns.names["other.test"] = [(PUBLIC,)]
    with pytest.raises(EgressRefused):
        await street.fetch(street.url("other.test"), allowance=allowance)
    assert (street.probe.connects, street.audit.reasons) == ([], [reason])


async def test_hosts_hold_after_a_redirect_too(street: Street) -> None:
    street.dns.names["other.test"] = [(PUBLIC,)]
    street.probe.respond = first_then_ok(moved(street.url("other.test", "/next")))
    allowance = Allowance(hosts=frozenset({"public.test"}))
    with pytest.raises(EgressRefused):
        await street.fetch(street.url("public.test"), allowance=allowance)
    assert street.audit.reasons == ["host not of this connector"]


@asynccontextmanager
async def _tls(folder: Path, probe: Probe, host: str) -> AsyncIterator[str]:
    authority = Authority.create()
    authority.issue(host, folder / "cert.pem", folder / "key.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    async with probe.listening(context):
        yield authority.certificate


async def test_a_redirect_from_https_to_http_is_refused(street: Street, tmp_path: Path) -> None:
    secure = Probe()
    async with _tls(tmp_path, secure, "public.test") as authority:
        url = f"https://public.test:{secure.port}/"
        allowance = Allowance(tls_ca=authority)
        assert (await street.fetch(url, allowance=allowance)).body == b"ok"
        secure.respond = lambda _, __: moved(street.url("public.test"))
        with pytest.raises(EgressRefused):
            await street.fetch(url, allowance=allowance)
    assert street.probe.connects == []
    assert street.audit.reasons == ["redirect from https to http"]


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_certificate_must_be_trusted_and_be_the_hosts(
    street: Street, tmp_path: Path, trusted: bool
) -> None:
    secure = Probe()
    host = "another.test" if trusted else "public.test"
    async with _tls(tmp_path, secure, host) as authority:
        allowance = replace(Allowance(), tls_ca=authority if trusted else "")
        with pytest.raises(SourceUnreachable, match="certificate") as caught:
            await street.fetch(f"https://public.test:{secure.port}/?key=hunter2", None, allowance)
    assert caught.value.__suppress_context__  # aiohttp's own error names the URL
    assert secure.requests == []


async def test_an_authority_that_is_none_is_named(street: Street) -> None:
    with pytest.raises(InvalidRequest, match="PEM"):
        await street.fetch(street.url("public.test"), allowance=Allowance(tls_ca="nonsense"))
