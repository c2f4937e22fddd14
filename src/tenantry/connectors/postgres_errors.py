"""Errors of a PostgreSQL server in the platform's words (CON-2).

Source: PostgreSQL 18 manual, appendix A, "PostgreSQL Error Codes". While a connection is opened
libpq tells no code, only a text, which is English unless the server's own messages are not.
"""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from tenantry.connectors.source_errors import line, rejected
from tenantry.core.errors import QueryFailed, QueryTimeout, SourceUnreachable, TenantryError

GONE = "The server ended the connection."
_LOGIN = "The server refused the login: the user, the password or the client's address is wrong."
_BUSY = "The server takes no more connections just now."
_STOPPED = "The query took longer than allowed and was stopped."
_UNREACHABLE: Mapping[str, str] = MappingProxyType(
    {
        "57P01": GONE, "57P02": GONE, "57P03": "The server is not ready.", "57P04": GONE,
        "25P03": GONE, "25P04": GONE, "57P05": GONE, "53300": _BUSY,
    }
)  # fmt: skip
_PLAIN: Mapping[str, str] = MappingProxyType(
    {
        "25006": "Nothing can be changed through this connector: it only reads.",
        "55P03": "A table is locked by someone else at the source; try again later.",
        "22021": "The source holds text that is not valid in its own encoding.",
        "22P05": "The source holds text that cannot be sent as UTF-8.",
    }
)
_CONNECTING: Sequence[tuple[str, str]] = (
    (r"password authentication failed|role \".*\" does not exist|not permitted to log in", _LOGIN),
    (r"no pg_hba.conf entry.*no encryption", "The server takes only encrypted connections: set tls "
     "to verify-full or require."),
    (r"no pg_hba.conf entry|pg_hba.conf rejects", _LOGIN),
    (r"database \".*\" does not exist", "There is no such database at the server."),
    (r"permission denied for database", "The login may not use this database."),
    (r"too many (clients|connections)|remaining connection slots", _BUSY),
    (r"starting up|shutting down|recovery mode", "The server is not ready."),
    (r"server does not support SSL", "The server does not offer TLS."),
    (r"server certificate for .* does not match|certificate verify failed|unknown ca",
     "The server's certificate is not one for {host}, or not signed by a known authority: "
     "set tls_ca."),
    (r"requirement failed|authentication method",
     "The server asks for no password, or for one in a way that would give it away."),
    (r"Connection refused|No route to host|Network is unreachable|timeout expired",
     "Nothing answers at {host}, port {port}."),
    (r"server closed the connection|invalid response|expected authentication request",
     "What answers at {host}, port {port}, is no PostgreSQL server, or ended the connection."),
)  # fmt: skip


def translated(code: str, text: str) -> TenantryError:
    """What to raise for an error that the server reported with its five-character code."""
    if code in _UNREACHABLE or code.startswith("08"):
        return SourceUnreachable(_UNREACHABLE.get(code, GONE))
    if code == "57014":
        return QueryTimeout(_STOPPED)
    return QueryFailed(_PLAIN.get(code) or rejected(text))


def unreachable(text: str, host: str, port: int) -> SourceUnreachable:
    """What to raise when no connection could be opened, and libpq says why."""
    for pattern, message in _CONNECTING:
        if re.search(pattern, text, re.IGNORECASE | re.DOTALL):
            return SourceUnreachable(message.format(host=host, port=port))
    said = text.rpartition("FATAL:")[2] if "FATAL:" in text else text
    return SourceUnreachable(f"The connection cannot be opened: {line(said)}")
