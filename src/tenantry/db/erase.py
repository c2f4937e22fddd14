"""Takes what was deleted out of the database's files.

PostgreSQL only marks a removed row, and `VACUUM` only gives its place away: the bytes stay in pages
of tables and indexes until something is written over them. A table that is written anew has none of
them, nor has any of its indexes; it is locked for that long, so an operator says when.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import psycopg
from psycopg import sql
from psycopg.rows import DictRow, dict_row

from tenantry.core.errors import Forbidden, StoreUnavailable
from tenantry.db.queries import load

Outcome = Literal["erased", "busy", "held"]
_SQL = load("tenantry.db")
_REWRITE = sql.SQL("VACUUM (FULL, VERBOSE) {}")
_COUNT = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What came of one table.

    Attributes:
        table: its name, without the schema.
        outcome: `busy` when its lock was not given in time, and nothing was done; `held` when a
            transaction that is still open may see removed rows, which therefore stay.
        bytes_before: with indexes.
        bytes_after: the same, afterwards.
    """

    table: str
    outcome: Outcome
    bytes_before: int
    bytes_after: int


def erase(admin_url: str, wait_s: float) -> Iterator[Rewritten]:
    """Write every table anew that holds text of documents or conversations, one after the other.

    Args:
        admin_url: address of the administrator, as for migrations.
        wait_s: for how long a table's lock is waited for.

    Raises:
        StoreUnavailable: the database cannot be reached, or gave up, as on a full disk; the tables
            before that are done.
        Forbidden: they are not those of an administrator.
    """
    try:
        with psycopg.connect(admin_url, autocommit=True, row_factory=dict_row) as connection:
            connection.execute(_SQL["assume_owner"])
            connection.execute(_SQL["wait_at_most"], {"wait": f"{round(wait_s * 1000)}ms"})
            for row in connection.execute(_SQL["content_tables"]).fetchall():
                yield _rewrite(connection, row["name"], row["bytes"])
    except psycopg.errors.InsufficientPrivilege as error:
        raise Forbidden(
            "Only an administrator of the database can erase: set TENANTRY_DATABASE_URL as for "
            "`tenantry migrate`."
        ) from error
    except psycopg.Error as error:
        reason = error.diag.message_primary  # none where there was no connection to say it
        told = f"Erasing ended early: {reason}." if reason else "The database cannot be reached."
        raise StoreUnavailable(told) from error


def _rewrite(connection: psycopg.Connection[DictRow], table: str, before: int) -> Rewritten:
    details: list[str] = []

    def note(diagnostic: psycopg.errors.Diagnostic) -> None:
        details.append(diagnostic.message_detail or "")

    connection.add_notice_handler(note)
    try:
        connection.execute(_REWRITE.format(sql.Identifier("tenantry", table)))
    except psycopg.errors.LockNotAvailable:
        return Rewritten(table, "busy", before, before)
    finally:
        connection.remove_notice_handler(note)
    # The server's own count of removed rows that it had to keep; without one, we do not know.
    kept = [int(count[0]) for count in map(_COUNT.search, details) if count]
    outcome: Outcome = "erased" if kept and not any(kept) else "held"
    size = connection.execute(_SQL["table_bytes"], {"name": table}).fetchone()
    return Rewritten(table, outcome, before, size["bytes"] if size else 0)
