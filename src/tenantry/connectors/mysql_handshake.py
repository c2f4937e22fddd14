"""Opens a connection to a MySQL or MariaDB server: address, TLS, login (CON-2, CON-4).

Threat: a host name that leads elsewhere than the egress guard looked, a stranger between us and
the server, a server that asks for the password in the clear or for more than a login.
Invariant: the socket goes to the checked address and to no other, the certificate is the host
name's, nothing that arrived before TLS is believed after it, and a password never leaves in the
clear. Capabilities that a reader does not need are not offered: no local files, no statements
after the first.

Source: MySQL 8.4 internals manual, "Connection Phase"; RFC 5246 says nothing of STARTTLS, whose
injection this answers: CVE-2011-0411.
"""

import asyncio
import hashlib
import ssl
from contextlib import suppress
from dataclasses import dataclass

from tenantry.connectors.mysql_packets import Fields, Malformed, Wire, refusal
from tenantry.core.errors import SourceUnreachable
from tenantry.core.secret import Secret

# LONG_PASSWORD, LONG_FLAG, CONNECT_WITH_DB, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION,
# PLUGIN_AUTH, CONNECT_ATTRS, PLUGIN_AUTH_LENENC_CLIENT_DATA
_OFFERED = 0x1 | 0x4 | 0x8 | 0x200 | 0x2000 | 0x8000 | 0x80000 | 0x100000 | 0x200000
_TLS, _IS_MYSQL = 0x800, 0x1
_NEEDED = 0x200 | 0x8000 | 0x80000
_EXTENDED_METADATA = 1 << 3  # MariaDB names types such as JSON and UUID, which travel as text
_UTF8MB4 = 45
_MOST_ROUNDS = 8
_BUFFER_BYTES = 64 * 1024
_METHODS = ("mysql_native_password", "caching_sha2_password")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and as whom to connect.

    Attributes:
        addresses: IP literals that the egress guard let pass, tried in this order.
        host: the name that the certificate must bear.
        tls: None for a connection in the clear.
    """

    addresses: tuple[str, ...]
    host: str
    port: int
    database: str
    user: str
    password: Secret
    tls: ssl.SSLContext | None


@dataclass(frozen=True, slots=True)
class Server:
    """What the server said of itself.

    Attributes:
        address: which of the endpoint's it is.
        version: as it spells it.
        connection: its number for this connection, which `KILL QUERY` takes.
        names_types: True where column definitions name extended types.
    """

    address: str
    version: str
    connection: int
    names_types: bool

    @property
    def is_mariadb(self) -> bool:
        """True for MariaDB, whose settings have other names."""
        return "mariadb" in self.version.lower()


@dataclass(frozen=True, slots=True)
class _Greeting:
    version: str
    connection: int
    capabilities: int
    extended: int
    salt: bytes
    method: str


async def connect(endpoint: Endpoint) -> tuple[Wire, Server]:
    """A logged-in connection.

    Raises:
        SourceUnreachable: nothing answers there, or something else than such a server, or its
            certificate is not the host's.
        ServerRefused: the server refused the login.
    """
    address, wire = await _reached(endpoint)
    try:
        greeting = _greeting(await wire.read())
        offered = _OFFERED & ~(_IS_MYSQL if greeting.extended else 0)
        if endpoint.tls is not None:
            if not greeting.capabilities & _TLS:
                raise SourceUnreachable("The server does not offer TLS.")
            offered |= _TLS
            wire.write(_preamble(offered, greeting.extended))
            wire = await _encrypted(wire, endpoint.tls, endpoint.host)
        await _log_in(wire, greeting, endpoint, offered)
    except BaseException:
        wire.writer.transport.abort()
        raise
    names_types = bool(greeting.extended & _EXTENDED_METADATA)
    return wire, Server(address, greeting.version, greeting.connection, names_types)


async def _reached(endpoint: Endpoint) -> tuple[str, Wire]:
    for address in endpoint.addresses:
        with suppress(OSError):
            # An IP literal: nothing is resolved again here.
            return address, Wire(
                *await asyncio.open_connection(address, endpoint.port, limit=_BUFFER_BYTES)
            )
    raise SourceUnreachable(f"Nothing answers at {endpoint.host}, port {endpoint.port}.")


def _greeting(payload: bytes) -> _Greeting:
    if payload[:1] == b"\xff":
        raise refusal(payload)
    fields = Fields(payload)
    if fields.number(1) != 10:
        raise Malformed
    version = fields.until_nul().decode("latin-1")
    connection = fields.number(4)
    salt = fields.take(8)
    fields.take(1)
    capabilities = fields.number(2)
    fields.take(3)
    capabilities |= fields.number(2) << 16
    salt_bytes = fields.number(1)
    fields.take(6)
    extended = fields.number(4)
    salt += fields.take(max(13, salt_bytes - 8))
    if capabilities & _NEEDED != _NEEDED:
        raise SourceUnreachable("The server is older than MySQL 5.7 or MariaDB 10.2.")
    is_mysql = bool(capabilities & _IS_MYSQL)
    method = fields.until_nul().decode("latin-1")
    extended = 0 if is_mysql else extended & _EXTENDED_METADATA
    return _Greeting(version, connection, capabilities, extended, salt[:20], method)


async def _log_in(wire: Wire, greeting: _Greeting, endpoint: Endpoint, offered: int) -> None:
    method = greeting.method if greeting.method in _METHODS else _METHODS[0]
    proof = _proof(method, endpoint.password, greeting.salt)
    wire.write(
        _preamble(offered, greeting.extended)
        + _nul(endpoint.user)
        + _counted(proof)
        + _nul(endpoint.database)
        + _nul(method)
        + _counted(_counted(b"program_name") + _counted(b"tenantry"))
    )
    await _prove(wire, method, endpoint)


def _preamble(offered: int, extended: int) -> bytes:
    return (
        offered.to_bytes(4, "little")
        + (0xFFFFFF).to_bytes(4, "little")
        + bytes([_UTF8MB4])
        + bytes(19)
        + extended.to_bytes(4, "little")
    )


async def _encrypted(wire: Wire, context: ssl.SSLContext, host: str) -> Wire:
    """The same connection under TLS, with a new reader: what a stranger sent before is gone."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_BUFFER_BYTES)
    protocol = asyncio.StreamReaderProtocol(reader)
    try:
        transport = await loop.start_tls(
            wire.writer.transport, protocol, context, server_hostname=host
        )
    except ssl.SSLCertVerificationError as error:
        raise SourceUnreachable(
            f"The server's certificate is not one for {host}: {error.verify_message}."
        ) from error
    except OSError as error:
        raise SourceUnreachable("The server broke off while TLS was set up.") from error
    if transport is None:
        raise SourceUnreachable("The server broke off while TLS was set up.")
    protocol.connection_made(transport)
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    return Wire(reader, writer, wire.sequence, wire.writer)


async def _prove(wire: Wire, method: str, endpoint: Endpoint) -> None:
    for _ in range(_MOST_ROUNDS):
        payload = await wire.read()
        match payload[:1]:
            case b"\x00":
                return
            case b"\xff":
                raise refusal(payload)
            case b"\xfe":
                fields = Fields(payload[1:])
                method = fields.until_nul().decode("latin-1")
                wire.write(_proof(method, endpoint.password, fields.rest()[:20]))
            case b"\x01" if method == "caching_sha2_password":
                _continue(wire, payload, endpoint)
            case _:
                raise Malformed
    raise Malformed


def _continue(wire: Wire, payload: bytes, endpoint: Endpoint) -> None:
    """Answer the server, which has no proof of this password in memory yet and wants the text."""
    if payload[1:] == b"\x03":
        return  # it had: its verdict follows
    if payload[1:] != b"\x04":
        raise Malformed
    if endpoint.tls is None:
        raise SourceUnreachable(
            "The server wants the password over an encrypted connection: "
            "set tls to verify-full or require."
        )
    wire.write(endpoint.password.reveal().encode() + b"\0")


def _proof(method: str, password: Secret, salt: bytes) -> bytes:
    """What shows that we know the password, without telling it."""
    if method not in _METHODS:
        known = " and ".join(_METHODS)
        shown = "".join(c if c.isprintable() else "?" for c in method[:40])
        raise SourceUnreachable(f"The login uses {shown}; {known} are supported.")
    if not password:
        return b""
    text = password.reveal().encode()
    if method == "caching_sha2_password":
        stage = hashlib.sha256(text).digest()
        mask = hashlib.sha256(hashlib.sha256(stage).digest() + salt).digest()
    else:
        stage = hashlib.sha1(text, usedforsecurity=False).digest()
        double = hashlib.sha1(stage, usedforsecurity=False).digest()
        mask = hashlib.sha1(salt + double, usedforsecurity=False).digest()
    return bytes(a ^ b for a, b in zip(stage, mask, strict=True))


def _nul(text: str) -> bytes:
    return text.encode() + b"\0"


def _counted(content: bytes) -> bytes:
    if len(content) > 250:
        raise ValueError("longer than one byte can count")
    return bytes([len(content)]) + content
