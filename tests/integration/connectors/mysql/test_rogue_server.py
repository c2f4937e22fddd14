"""A tenant's server may lie: it learns nothing, reads nothing of ours and harms nobody (CON-2).

The servers here speak the protocol on the wire and say what no real one would. The first of these
cases ended the whole process with the usual driver (ADR-0011).
"""

import asyncio
import socket
import ssl
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from tenantry.connectors.mysql_client import MySQLClient
from tenantry.connectors.mysql_handshake import Endpoint
from tenantry.connectors.mysql_packets import LARGEST_PACKET, Malformed, ServerRefused, TooWide
from tenantry.core.errors import SourceUnreachable
from tenantry.core.secret import Secret
from tests.sources.certificates import Authority
from tests.sources.rogue_mysql import (
    END,
    OK,
    SALT,
    WITH_TLS,
    Rogue,
    definition,
    greeting,
    packet,
    packets,
    text,
)

_PASSWORD = "correct horse battery staple"


def _endpoint(rogue: Rogue, tls: ssl.SSLContext | None = None) -> Endpoint:
    return Endpoint(
        ("127.0.0.1",), "db.acme.test", rogue.port, "shop", "acme", Secret(_PASSWORD), tls
    )


async def _asked(rogue: Rogue) -> list[tuple[bytes | None, ...]]:
    async with rogue.running():
        client = await MySQLClient.open(_endpoint(rogue), 5)
        try:
            return list(await client.all("SELECT 1"))
        finally:
            await client.end()


def _never_told(rogue: Rogue) -> bool:
    return not any(_PASSWORD.encode() in heard for heard in rogue.heard)


async def test_a_row_that_is_what_it_should_be_is_read() -> None:
    answer = packets(1, b"\x02", definition(b"a"), definition(b"b"), END, b"\x01x\xfb", END)
    assert await _asked(Rogue(answer=lambda _: answer)) == [(b"x", None)]


@pytest.mark.parametrize(
    "answer",
    [
        # lengths beyond the packet: 60,000 bytes, 200 MB, and half of all memory there could be
        packets(1, b"\x01", b"\x03def\0\0\0\xfc\x60\xeax", END),
        packets(1, b"\x01", b"\x03def\0\0\0\xfe\x00\xc2\xeb\x0b\0\0\0\0x", END),
        packets(1, b"\x01", b"\x03def\0\0\0\xfe" + b"\xff" * 7 + b"\x7fx", END),
        packets(1, b"\x01", definition(b"a"), END, b"\xfc\xff\xffx", END),
        # counts that lie
        packets(1, b"\xfe" + b"\xff" * 8),
        packets(1, b"\xfc\xff\xff"),
        packets(1, b"\x00"[:0]),
        packets(1, b"\x01", definition(b"a"), END, text(b"one") + text(b"two"), END),
        packets(1, b"\x02", definition(b"a"), definition(b"b"), END, text(b"one"), END),
        packets(1, b"\x01", definition(b"a"), text(b"no end of the columns")),
        packets(1, b"\x01", b"\xfe\x00\x00\x02\x00", END),
        # out of order
        packets(2, b"\x01", definition(b"a"), END, END),
        packet(1, b"\x01") + packet(1, definition(b"a")),
    ],
)
@pytest.mark.req("POOL-2")
async def test_an_answer_that_lies_is_refused_and_reads_no_memory_of_ours(answer: bytes) -> None:
    with pytest.raises(Malformed):
        await _asked(Rogue(answer=lambda _: answer))


@pytest.mark.parametrize("name", [b"/etc/passwd", b"/proc/self/environ", b""])
@pytest.mark.req("CON-4")
async def test_a_server_that_asks_for_a_file_of_ours_gets_none(name: bytes) -> None:
    rogue = Rogue(answer=lambda _: packet(1, b"\xfb" + name))
    with pytest.raises(Malformed, match="it was given none"):
        await _asked(rogue)
    assert rogue.heard[-1] in (b"\x03SELECT 1", b"\x01")  # the query, at most a farewell


async def test_a_row_beyond_the_cap_is_refused_before_it_arrives() -> None:
    header = (LARGEST_PACKET + 1).to_bytes(3, "little") + b"\x04"
    with pytest.raises(TooWide):
        await _asked(Rogue(answer=lambda _: packets(1, b"\x01", definition(b"a"), END) + header))


async def test_what_is_sent_unasked_waits_at_the_sender() -> None:
    flood = bytes(1024) * 1024
    rogue = Rogue(answer=lambda _: packets(1, OK) + flood * 64)
    async with rogue.running():
        client = await MySQLClient.open(_endpoint(rogue), 5)
        assert await client.all("SELECT 1") == []
        await asyncio.sleep(0.2)
        reader = client._wire.reader
        assert len(reader._buffer) <= 4 * 64 * 1024  # type: ignore[attr-defined]  # of 64 MB
        with pytest.raises(SourceUnreachable):  # and is no answer to the next question
            await client.ping()
        await client.end()


@pytest.mark.parametrize(
    "method",
    [b"mysql_clear_password", b"dialog", b"mysql_old_password", b"client_ed25519", b"\x1b[2J" * 30],
)
@pytest.mark.req("CON-4")
async def test_the_password_is_never_told_to_a_server_that_asks_for_it(method: bytes) -> None:
    switch = b"\xfe" + method + b"\0" + SALT + b"\0"
    rogue = Rogue(login=((switch,), (OK,)))
    with pytest.raises(SourceUnreachable, match="are supported") as caught:
        await _asked(rogue)
    assert "\x1b" not in caught.value.message
    assert _never_told(rogue)


@pytest.mark.parametrize("asked", [b"\x01\x04", b"\x01\x02", b"\x01"])
async def test_without_tls_the_password_is_not_told_to_sha2_either(asked: bytes) -> None:
    hello = packet(0, greeting(b"caching_sha2_password"))
    rogue = Rogue(hello=hello, login=((asked,), (OK,)))
    with pytest.raises(SourceUnreachable):
        await _asked(rogue)
    assert _never_told(rogue)


async def test_sha2_is_proved_as_mysql_documents_it() -> None:
    hello = packet(0, greeting(b"caching_sha2_password"))
    # The server says that it remembers the password (3), and then that all is well.
    rogue = Rogue(hello, ((b"\x01\x03", OK),), lambda _: packets(1, OK))
    assert await _asked(rogue) == []
    proof = rogue.heard[0].partition(b"acme\0 ")[2][:32]
    stored = sha256(sha256(_PASSWORD.encode()).digest()).digest()
    mask = sha256(stored + SALT).digest()
    assert sha256(bytes(a ^ b for a, b in zip(proof, mask, strict=True))).digest() == stored
    assert _never_told(rogue)


async def test_a_server_that_remembers_a_password_has_not_let_us_in_yet() -> None:
    rogue = Rogue(packet(0, greeting(b"caching_sha2_password")), ((b"\x01\x03",),))
    async with rogue.running():
        with pytest.raises(SourceUnreachable, match=r"did not answer in 0\.2 seconds"):
            await MySQLClient.open(_endpoint(rogue), 0.2)


@pytest.mark.req("CON-4")
async def test_a_server_without_tls_gets_no_login_where_tls_is_wanted() -> None:
    rogue = Rogue()
    async with rogue.running():
        with pytest.raises(SourceUnreachable, match="does not offer TLS"):
            await MySQLClient.open(_endpoint(rogue, ssl.create_default_context()), 5)
    assert rogue.heard == []


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority that signed a certificate for the server in `tmp_path`."""
    authority = Authority.create()
    authority.issue("db.acme.test", tmp_path / "crt", tmp_path / "key")
    return authority


@dataclass
class _Encrypted:
    """A server under TLS: what it sends before it, after it, and what it heard."""

    folder: Path
    before: bytes
    after: tuple[bytes, ...]
    heard: list[bytes] = field(default_factory=list)

    def serve(self, listening: socket.socket) -> None:
        served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        served.load_cert_chain(self.folder / "crt", self.folder / "key")
        plain, _ = listening.accept()
        with plain:
            plain.sendall(self.before)
            _hear(plain)
            with served.wrap_socket(plain, server_side=True) as encrypted:
                for answer in self.after:
                    self.heard.append(_hear(encrypted))
                    encrypted.sendall(answer)

    async def meet(self, authority: Authority) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            rogue = Rogue(port=listening.getsockname()[1])
            context = ssl.create_default_context(cadata=authority.certificate)
            serving = asyncio.create_task(asyncio.to_thread(self.serve, listening))
            try:
                client = await MySQLClient.open(_endpoint(rogue, context), 5)
                await client.end()
            finally:
                await serving


@pytest.mark.req("CON-4")
async def test_nothing_sent_before_tls_is_believed_after_it(
    tmp_path: Path, authority: Authority
) -> None:
    # A stranger's verdict on the login comes before the server could have given any.
    before = packet(0, greeting(capabilities=WITH_TLS)) + packet(3, OK)
    server = _Encrypted(tmp_path, before, (packet(3, b"\xff\x15\x04#28000no"),))
    with pytest.raises(ServerRefused, match="no"):
        await server.meet(authority)
    assert len(server.heard) == 1


async def test_under_tls_a_server_that_does_not_remember_the_password_is_told_it(
    tmp_path: Path, authority: Authority
) -> None:
    before = packet(0, greeting(b"caching_sha2_password", WITH_TLS))
    server = _Encrypted(tmp_path, before, (packet(3, b"\x01\x04"), packet(5, OK)))
    await server.meet(authority)
    assert server.heard[1] == _PASSWORD.encode() + b"\0"


def _hear(connection: socket.socket) -> bytes:
    return connection.recv(int.from_bytes(connection.recv(4)[:3], "little"))


@pytest.mark.parametrize(
    ("hello", "says"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "protocol"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "protocol"),
        (packet(0, b""), "protocol"),
        (packet(0, b"\x09old\0"), "protocol"),
        (packet(0, greeting()[:20]), "protocol"),
        (packet(0, greeting(capabilities=0x1)), "older than"),
        (packet(1, greeting()), "protocol"),
    ],
)
@pytest.mark.req("CON-2")
async def test_something_else_than_a_mysql_server_is_told_to_be_that(
    hello: bytes, says: str
) -> None:
    rogue = Rogue(hello=hello)
    with pytest.raises(SourceUnreachable, match=says):
        await _asked(rogue)
    assert rogue.heard == []


async def test_a_server_that_says_nothing_is_given_up() -> None:
    rogue = Rogue(hello=b"")
    async with rogue.running():
        with pytest.raises(SourceUnreachable, match=r"did not answer in 0\.2 seconds"):
            await MySQLClient.open(_endpoint(rogue), 0.2)


async def test_a_login_that_never_ends_is_given_up() -> None:
    switch = b"\xfemysql_native_password\0" + SALT + b"\0"
    rogue = Rogue(login=((switch,),) * 50)
    with pytest.raises(Malformed):
        await _asked(rogue)
    assert len(rogue.heard) < 12
