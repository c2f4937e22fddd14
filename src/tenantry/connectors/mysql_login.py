"""What a MySQL or MariaDB login may do, judged before its connector is stored (CON-3).

The guard and the read-only transaction stand before the server; the login's own rights stand
behind them. A login that could act on the server itself, whatever the transaction, is refused; one
that merely could write is only warned of.

Source: MySQL 8.4 reference manual, "Privileges Provided by MySQL"; MariaDB, "GRANT".
"""

import re
from collections.abc import Iterable, Iterator

from tenantry.connectors.login_verdict import Verdict

_QUOTED = re.compile(r"`(?:[^`]|``)*`")
_GRANT = re.compile(r"GRANT (?P<rights>.+?) ON (?P<object>.+?) TO ", re.IGNORECASE)
_COLUMNS = re.compile(r"\([^)]*\)")
# Rights that reach past the rows of a database: files, accounts, other sessions, the server.
_RULES_THE_SERVER = frozenset(
    {
        "ALL", "ALL PRIVILEGES", "SUPER", "FILE", "SHUTDOWN", "RELOAD", "CREATE USER",
        "SYSTEM_USER", "GRANT OPTION", "SET USER", "SET_USER_ID", "SET_ANY_DEFINER",
        "ALLOW_NONEXISTENT_DEFINER", "BINLOG REPLAY", "REPLICATION SLAVE", "CREATE TABLESPACE",
    }
)  # fmt: skip
_RULING_ENDS = ("ADMIN", " ROLE")  # CONNECTION_ADMIN, READ_ONLY ADMIN, and the making of roles
_READS = frozenset({"USAGE", "SELECT", "SHOW VIEW", "SHOW DATABASES"})


def judge(grants: Iterable[str]) -> Verdict:
    """Judge a login by the lines of `SHOW GRANTS`."""
    refused, writes, reads_all, roles = set[str](), set[str](), False, False
    for line in grants:
        match = _GRANT.match(_QUOTED.sub("`x`", line))
        if match is None:
            roles = True  # GRANT `role` TO …: its rights are listed only where it is active
            continue
        everywhere = match["object"].strip() == "*.*"
        for right in _rights(match["rights"], line):
            if right == "PROXY" or (everywhere and _rules(right)):
                refused.add(right)
            elif right not in _READS:
                writes.add(right)
            reads_all |= everywhere and right == "SELECT"
    return Verdict(tuple(sorted(refused)), tuple(_warnings(writes, reads_all, roles)))


def _rights(listed: str, line: str) -> Iterator[str]:
    for right in _COLUMNS.sub("", listed).split(","):
        yield " ".join(right.upper().split())
    if line.upper().rstrip().endswith("WITH GRANT OPTION"):
        yield "GRANT OPTION"


def _rules(right: str) -> bool:
    return right in _RULES_THE_SERVER or right.endswith(_RULING_ENDS)


def _warnings(writes: set[str], reads_all: bool, roles: bool) -> Iterator[str]:
    if writes:
        yield (
            f"The login may do more than read: {', '.join(sorted(writes))}. "
            "Give the connector a login with SELECT alone."
        )
    if reads_all:
        yield "The login may read every database of the server, not only this one."
    if roles:
        yield "The login has roles; what they may do was judged only as far as they are active."
