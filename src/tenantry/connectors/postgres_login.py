"""What a PostgreSQL login may do, judged before its connector is stored (CON-3).

The guard and the read-only transaction stand before the server; the login's own rights stand
behind them. A login that could act on the server itself, whatever the transaction, or become a role
that could, is refused; one that merely could write is only warned of.

Source: PostgreSQL 18 manual, "Role Attributes" and "Predefined Roles".
"""

from collections.abc import Iterator, Sequence

from tenantry.connectors.login_verdict import Verdict

_ATTRIBUTES = ("superuser", "BYPASSRLS", "REPLICATION", "CREATEROLE")
_FILES = frozenset({"pg_read_server_files", "pg_write_server_files", "pg_execute_server_program"})
_MERELY_READS = frozenset({"pg_monitor", "pg_read_all_settings", "pg_read_all_stats",
                           "pg_stat_scan_tables"})  # fmt: skip
_TRUE = b"t"

Row = Sequence[bytes | None]


def judge(roles: Sequence[Row], writes: Row) -> Verdict:
    """Judge a login.

    Args:
        roles: each role that it is or may become: name, then whether it is a superuser, bypasses
            row-level security, replicates, creates roles, creates databases.
        writes: whether it may write tables, owns some, may create things.
    """
    refused: dict[str, None] = {}
    for name, *flags in roles:
        refused |= dict.fromkeys(
            attribute for attribute, flag in zip(_ATTRIBUTES, flags, strict=False) if flag == _TRUE
        )
        if (name or b"").decode("utf-8", "replace") in _FILES:
            refused[(name or b"").decode()] = None
    if "superuser" in refused:
        refused = {"superuser": None}  # who may become every role and do everything
    return Verdict(tuple(refused), tuple(_warnings(roles, writes)))


def _warnings(roles: Sequence[Row], writes: Row) -> Iterator[str]:
    may_write, owns, creates = (flag == _TRUE for flag in writes)
    more = [
        what
        for what, holds in (
            ("write tables", may_write),
            ("change tables that it owns", owns),
            ("create tables or schemas", creates),
            ("create databases", any(row[5] == _TRUE for row in roles)),
        )
        if holds
    ]
    if more:
        yield (
            f"The login may do more than read: {', '.join(more)}. "
            "Give the connector a login with SELECT alone."
        )
    names = {(row[0] or b"").decode("utf-8", "replace") for row in roles}
    powers = sorted(n for n in names if n.startswith("pg_") and n not in _FILES | _MERELY_READS)
    if powers:
        yield f"The login has roles that reach past its tables: {', '.join(powers)}."
