"""Errors of a MySQL or MariaDB server in the platform's words (CON-2).

Texts about the login are replaced, never passed on.

Source: MySQL 8.4 reference manual, "Server Error Message Reference"; MariaDB, "Error Codes".
"""

from collections.abc import Mapping
from types import MappingProxyType

from tenantry.connectors.mysql_packets import ServerRefused
from tenantry.connectors.source_errors import rejected
from tenantry.core.errors import QueryFailed, QueryTimeout, SourceUnreachable, TenantryError

_LOGIN = "The server refused the login: the user, the password or the client's address is wrong."
_BUSY = "The server takes no more connections just now."
_STOPPED = "The query took longer than allowed and was stopped."
_GONE = "The server ended the connection."
_UNREACHABLE: Mapping[int, str] = MappingProxyType(
    {
        1040: _BUSY,
        1203: _BUSY,
        1226: _BUSY,
        1044: "The login may not use this database.",
        1049: "There is no such database at the server.",
        1045: _LOGIN,
        1130: _LOGIN,
        1698: _LOGIN,
        1129: "The server blocks this host after too many failed connections.",
        1251: "The server and this client share no way to log in.",
        1820: "The login's password has expired.",
        1862: "The login's password has expired.",
        3118: "The login is locked.",
        4151: "The login is locked.",
        3159: "The server takes only encrypted connections: set tls to verify-full or require.",
        1053: _GONE,
        1927: _GONE,
    }
)
_TIMEOUTS = frozenset({1317, 1969, 3024})
_PLAIN: Mapping[int, str] = MappingProxyType(
    {
        1205: "A table is locked by someone else at the source; try again later.",
        1792: "Nothing can be changed through this connector: it only reads.",
    }
)


def translated(error: ServerRefused) -> TenantryError:
    """What to raise for an error that the server reported."""
    if error.code in _UNREACHABLE:
        return SourceUnreachable(_UNREACHABLE[error.code])
    if error.code in _TIMEOUTS:
        return QueryTimeout(_STOPPED)
    return QueryFailed(_PLAIN.get(error.code) or rejected(error.text))
