"""The one reader of model-written SQL (CON-3): decides, and rewrites what it lets through.

Threat: the model writes whatever an attacker wants: writes, files, URLs, settings, functions with
side effects, other tables, hidden columns, two statements, or text that we and the database read
differently.
Invariant: what runs is text regenerated from a tree in which every node, type, function, table and
column is allowed by name, never the model's own text; and that text is read as the same tree again.

Second walls stand behind it: the sandboxed process of `duckdb_process`, or the read-only role and
transaction of a database connector.
Source: P2SQL injections (arXiv 2308.01990).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.errors import SqlglotError

from tenantry.connectors.sql_columns import confine
from tenantry.connectors.sql_refusals import NotAllowed, Reason, Refused, explain, mistake
from tenantry.connectors.sql_relations import Relation, resolve
from tenantry.connectors.sql_syntax import read, reread, shape
from tenantry.connectors.sql_unreadable import judged
from tenantry.connectors.sql_vocabulary import VOCABULARIES, Dialect
from tenantry.connectors.sql_writing import write

__all__ = ["Approved", "Reason", "Refused", "Relation", "Scope", "check"]

_MOST_CHARACTERS = 20_000
_ROUNDS = 4  # regeneration settles after one or two in practice; what does not is refused
# What sqlglot raises instead of its own errors for some calls with too few arguments.
_PARSER_DEFECTS = (AttributeError, IndexError, KeyError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a query may reach.

    Attributes:
        dialect: of the source.
        relations: tables it may read, spelt as the source has them. Those of PostgreSQL and MySQL
            are schema or database and table; a query may leave out what is unambiguous.
        max_rows: the LIMIT imposed, one row more than will be shown, so that a cut is noticed.
        columns: those that each relation may show, spelt as the source has them; a relation that
            is missing shows none. None: all columns.
    """

    dialect: Dialect
    relations: Collection[Relation]
    max_rows: int
    columns: Mapping[Relation, Sequence[str]] | None = None


@dataclass(frozen=True, slots=True)
class Approved:
    """A statement that may run: text regenerated from its tree, and the tables it reads."""

    sql: str
    relations: frozenset[Relation]


def check(sql: str, scope: Scope) -> Approved | Refused:
    """Decide whether `sql` may run, and rewrite it; pure, a few milliseconds."""
    decided = _decided(sql, scope)
    if isinstance(decided, Refused) and decided.reason == "syntax":
        return judged(decided, sql, VOCABULARIES[scope.dialect], scope.relations)
    return decided


def _decided(sql: str, scope: Scope) -> Approved | Refused:
    try:
        return _approve(sql, scope)
    except NotAllowed as error:
        return error.refused
    except SqlglotError as error:
        return Refused("syntax", "", f"The SQL could not be read. {explain(error)}".strip())
    except _PARSER_DEFECTS:
        return Refused("syntax", "", "The SQL could not be read; check the arguments of functions.")
    except RecursionError:
        return Refused("syntax", "", "The SQL is nested too deeply; write it more simply.")


def _approve(sql: str, scope: Scope) -> Approved:
    if len(sql) > _MOST_CHARACTERS or "\x00" in sql or not _encodable(sql):
        raise mistake("The SQL is too long or not plain text.")
    text = sql
    for _ in range(_ROUNDS):
        tree = read(text, scope.dialect)
        stored = resolve(tree, scope.dialect, scope.relations)
        confine(tree, scope.dialect, stored, scope.columns)
        _impose_limit(tree, scope.max_rows)
        meant = shape(tree)
        text = write(tree, scope.dialect)
        if reread(text, scope.dialect, meant):
            return Approved(text, frozenset(stored.values()))
    raise NotAllowed("statement", "", "The SQL cannot be written back exactly; simplify it.")


def _impose_limit(tree: exp.Expr, max_rows: int) -> None:
    limit = tree.args.get("limit")
    count = _count(limit) if limit is not None else None
    if count is None or count > max_rows:
        imposed = exp.Limit(expression=exp.Literal.number(max_rows))
        tree.set("limit", imposed)


def _count(limit: exp.Expr) -> int | None:
    """The number of rows asked for; None for all."""
    if isinstance(limit, exp.Fetch):
        count = limit.args.get("count") or exp.Literal.number(1)
        options = limit.args.get("limit_options")
        plain = options is None or not (
            options.args.get("percent") or options.args.get("with_ties")
        )
    else:
        count, plain = limit.expression, True
    if isinstance(count, exp.Var) and count.name.upper() == "ALL":
        return None
    if not plain or not isinstance(count, exp.Literal) or count.is_string or not count.is_int:
        raise mistake("Write LIMIT with a plain number.")
    return int(count.name)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
