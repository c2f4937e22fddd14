"""Opens a connection to a PostgreSQL server: address, TLS, login (CON-2, CON-4).

Threat: a host name that leads elsewhere than the egress guard looked, a stranger between us and
the server, and whatever of the operator's libpq would add by itself: environment variables, a
password file, a client's certificate, Kerberos tickets.
Invariant: the socket goes to the checked address, the certificate is the host name's, and every
setting that libpq would look up elsewhere is given.

Source: PostgreSQL 18 manual, "Parameter Key Words", "Environment Variables".
"""

import os
import secrets
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg.errors import Error
from psycopg.pq import Conninfo
from psycopg.rows import TupleRow

from tenantry.connectors.postgres_errors import unreachable
from tenantry.connectors.postgres_options import PostgresOptions
from tenantry.core.errors import SourceUnreachable
from tenantry.core.secret import Secret

_NOWHERE = "/dev/null/none"
_DEBIANS = Path("/etc/ssl/certs/ca-certificates.crt")
_METHODS = {"verify-full": "scram-sha-256,md5,password"}
_PROVING = "scram-sha-256,md5"  # a password in the clear goes to none but a proven server


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and as whom to connect.

    Attributes:
        addresses: IP literals that the egress guard let pass, tried in this order.
    """

    addresses: tuple[str, ...]
    options: PostgresOptions
    password: Secret


@dataclass(frozen=True, slots=True)
class Authority:
    """The authorities that a server's certificate is believed from, as libpq wants them: a file.

    It is there only while a connection, or a request to stop a query, is opened.
    """

    text: str
    folder: Path

    @classmethod
    def of(cls, text: str) -> "Authority":
        """Those of PEM text."""
        return cls(text, Path(tempfile.gettempdir()) / f"tenantry-{secrets.token_hex(16)}")

    @property
    def path(self) -> Path:
        """Where the file is, while it is there."""
        return self.folder / "authorities.pem"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have the file there, readable to nobody else."""
        if not self.text:
            yield
            return
        self.folder.mkdir(mode=0o700)  # fails if somebody made it: then it is not ours
        try:
            with os.fdopen(
                os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w"
            ) as f:
                f.write(self.text)
            yield
        finally:
            self.path.unlink(missing_ok=True)
            self.folder.rmdir()


async def dial(endpoint: Endpoint, authority: Authority) -> AsyncConnection[TupleRow]:
    """A logged-in connection, to the first address that answers.

    Raises:
        SourceUnreachable: there is none, and why.
    """
    failure: SourceUnreachable | None = None
    options = endpoint.options
    with authority.held():
        for address in endpoint.addresses:
            try:
                return await AsyncConnection.connect(
                    make_conninfo(**_settings(endpoint, address, authority)), autocommit=True
                )
            except Error as error:
                failure = unreachable(str(error), options.host, options.port)
    raise failure or SourceUnreachable(f"{options.host} has no address.")


def _settings(endpoint: Endpoint, address: str, authority: Authority) -> dict[str, str]:
    """Every setting of libpq that it would otherwise take from its surroundings."""
    options = endpoint.options
    is_verified = options.tls == "verify-full"
    found = {
        option.keyword.decode(): (option.compiled or b"").decode()
        for option in Conninfo.parse(b"")
        if option.envvar and option.keyword != b"service"
    }
    return found | {
        "host": options.host,
        "hostaddr": address,
        "port": str(options.port),
        "dbname": options.database,
        "user": options.user,
        "password": endpoint.password.reveal(),
        "passfile": _NOWHERE,
        "application_name": "tenantry",
        "client_encoding": "UTF8",
        "connect_timeout": "10",
        "options": "",
        "sslmode": options.tls,
        "sslrootcert": _roots(authority) if is_verified else _NOWHERE,
        "sslcert": _NOWHERE,
        "sslkey": _NOWHERE,
        "sslcertmode": "disable",
        "sslcrl": _NOWHERE,
        "sslcrldir": _NOWHERE,
        "sslnegotiation": "postgres",
        "ssl_min_protocol_version": "TLSv1.2",
        "gssencmode": "disable",
        "channel_binding": "disable" if options.tls == "disable" else "prefer",
        "require_auth": _METHODS.get(options.tls, _PROVING),
        "target_session_attrs": "any",
        "load_balance_hosts": "disable",
        "min_protocol_version": "3.0",
        "max_protocol_version": "3.0",
    }


def _roots(authority: Authority) -> str:
    """The file of those that are believed: the connector's own, or the machine's."""
    if authority.text:
        return str(authority.path)
    machines = ssl.get_default_verify_paths().cafile
    return machines or (str(_DEBIANS) if _DEBIANS.exists() else "system")
