"""The one reader of model-written SQL (CON-3): decides, and rewrites what it lets through.

Threat: the model writes whatever an attacker wants: writes, files, URLs, settings, functions with
side effects, other tables, two statements, or text that we and the database read differently.
Invariant: what runs is text regenerated from a tree in which every node, type, function and table
is allowed by name, never the model's own text; and the regenerated text passes the same check.

Second walls stand behind it: the sandboxed process of `duckdb_process`, or the read-only role and
transaction of a database connector.
Source: P2SQL injections (arXiv 2308.01990).
"""

import difflib
import itertools
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import sqlglot
from sqlglot import Token, TokenType, exp
from sqlglot.errors import ErrorLevel, SqlglotError

from tenantry.connectors.sql_relations import Relation, folded, relations
from tenantry.connectors.sql_vocabulary import VOCABULARIES, Dialect, Vocabulary

_MOST_CHARACTERS = 20_000
_MOST_NODES = 5_000
_ROUNDS = 4  # regeneration settles after two in practice; what does not settle is refused
_WORD = re.compile(r"\w+")
_FIRST_WORDS = frozenset({"select", "with", "from", "("})
_NAMES_SHOWN = 30
# What sqlglot raises instead of its own errors for some calls with too few arguments.
_PARSER_DEFECTS = (AttributeError, IndexError, KeyError, TypeError, ValueError)

Reason = Literal["syntax", "statement", "function", "relation"]


@dataclass(frozen=True, slots=True)
class Scope:
    """What a query may reach.

    Attributes:
        dialect: of the source.
        relations: tables it may read, spelt as the source has them.
        max_rows: the LIMIT imposed, one row more than will be shown, so that a cut is noticed.
    """

    dialect: Dialect
    relations: Collection[Relation]
    max_rows: int


@dataclass(frozen=True, slots=True)
class Approved:
    """A statement that may run: text regenerated from its tree, and the tables it reads."""

    sql: str
    relations: frozenset[Relation]


@dataclass(frozen=True, slots=True)
class Refused:
    """A statement that may not run.

    Attributes:
        reason: `syntax` is a mistake; the others reach outside the scope.
        subject: the name or construct refused, as written; empty for a mistake.
        message: what to do instead, for whoever wrote the statement.
    """

    reason: Reason
    subject: str
    message: str


class _NotAllowed(Exception):
    def __init__(self, reason: Reason, subject: str, message: str) -> None:
        super().__init__(message)
        self.refused = Refused(reason, subject, message)


def check(sql: str, scope: Scope) -> Approved | Refused:
    """Decide whether `sql` may run, and rewrite it; pure, about 3 ms for a usual query."""
    try:
        return _approve(sql, scope)
    except _NotAllowed as error:
        return error.refused
    except SqlglotError as error:
        return Refused("syntax", "", f"The SQL could not be read. {_explain(error)}".strip())
    except _PARSER_DEFECTS:
        return Refused("syntax", "", "The SQL could not be read; check the arguments of functions.")
    except RecursionError:
        return Refused("syntax", "", "The SQL is nested too deeply; write it more simply.")


def _approve(sql: str, scope: Scope) -> Approved:
    if len(sql) > _MOST_CHARACTERS or "\x00" in sql or not _encodable(sql):
        raise _NotAllowed("syntax", "", "The SQL is too long or not plain text.")
    text = sql
    for _ in range(_ROUNDS):
        tree = _parse(text, scope.dialect)
        _check_nodes(tree, VOCABULARIES[scope.dialect])
        _check_calls(text, tree, scope.dialect)
        used = _check_relations(tree, scope)
        _impose_limit(tree, scope.max_rows)
        regenerated = tree.sql(
            scope.dialect, comments=False, unsupported_level=ErrorLevel.IMMEDIATE
        )
        if regenerated == text:
            return Approved(text, used)
        text = regenerated
    raise _NotAllowed("statement", "", "The SQL cannot be written back exactly; simplify it.")


def _parse(text: str, dialect: Dialect) -> exp.Expr:
    tokens = sqlglot.tokenize(text, read=dialect)
    while tokens and tokens[-1].token_type == TokenType.SEMICOLON:
        tokens.pop()
    # Looked at before parsing: what sqlglot cannot parse it passes on as an opaque command.
    if not tokens:
        raise _NotAllowed("syntax", "", "There is no SQL.")
    if tokens[0].text.lower() not in _FIRST_WORDS:
        first = _short(tokens[0].text.upper())
        message = f"Only one SELECT statement can be run here, not {first}."
        raise _NotAllowed("statement", first, message)
    if any(token.token_type == TokenType.SEMICOLON for token in tokens):
        raise _NotAllowed("statement", ";", "Only one statement can be run at a time.")
    tree = sqlglot.parse_one(text, read=dialect)
    if not isinstance(tree, (exp.Select, exp.SetOperation, exp.Subquery)):
        kind = type(tree).__name__
        raise _NotAllowed("statement", kind, f"Only a SELECT can be run here, not {kind}.")
    return tree


def _check_nodes(tree: exp.Expr, vocabulary: Vocabulary) -> None:
    for count, node in enumerate(tree.walk()):
        if count >= _MOST_NODES:
            raise _NotAllowed("syntax", "", "The SQL is too long; write it more simply.")
        if isinstance(node, exp.Anonymous):
            _check_unparsed(node, vocabulary)
        elif type(node).__name__ not in vocabulary.nodes:
            raise _not_allowed(node, vocabulary)
        else:
            _check_parts(node, vocabulary)


def _check_parts(node: exp.Expr, vocabulary: Vocabulary) -> None:
    match node:
        case exp.DataType() if node.this.name not in vocabulary.types:
            name = _short(node.sql())
            raise _NotAllowed("statement", name, f"Values cannot be cast to {name} here.")
        case exp.Dot() if not isinstance(node.expression, exp.Identifier):
            name = _short(node.expression.name)
            message = f"Call {name} by its plain name, without a schema and not as a method."
            raise _NotAllowed("function", name, message)
        case exp.In() if node.args.get("field") is not None:
            message = "Write IN (SELECT …) or IN (value, …)."
            raise _NotAllowed("statement", "IN", message)
        case exp.Column() if _is_disguised(node, vocabulary):
            raise _unknown_function(node.name, vocabulary)
        case _:
            pass


def _is_disguised(column: exp.Column, vocabulary: Vocabulary) -> bool:
    bare = isinstance(column.this, exp.Identifier) and not column.this.args.get("quoted")
    return bare and not column.table and column.name.lower() in vocabulary.never


def _check_unparsed(call: exp.Anonymous, vocabulary: Vocabulary) -> None:
    # A quoted name would not be a string here: it is refused, allowed or not.
    if not isinstance(call.this, str) or call.this.lower() not in vocabulary.unparsed:
        raise _unknown_function(call.name, vocabulary)


def _check_calls(text: str, tree: exp.Expr, dialect: Dialect) -> None:
    """Refuse any word before a parenthesis that is no allowed function.

    The tree knows a function by its class, and several names share one. This reads the names that
    the database will read, so neither a synonym nor a mistake in the grammar lets one through.
    """
    vocabulary = VOCABULARIES[dialect]
    allowed = vocabulary.functions | vocabulary.words
    aliases = _aliases_with_columns(tree)
    tokens: list[Token] = sqlglot.tokenize(text, read=dialect)
    for token, following in itertools.pairwise(tokens):
        if following.token_type != TokenType.L_PAREN or not _is_word(token):
            continue
        if token.text.lower() not in allowed and token.start not in aliases:
            raise _unknown_function(token.text, vocabulary)


def _is_word(token: Token) -> bool:
    literal = (TokenType.STRING, TokenType.NUMBER)
    return token.token_type not in literal and _WORD.fullmatch(token.text) is not None


def _aliases_with_columns(tree: exp.Expr) -> frozenset[int]:
    """Where the names in `AS t(a, b)` and `WITH t(a, b)` start in the text: no calls."""
    return frozenset(
        alias.this.meta["start"]
        for alias in tree.find_all(exp.TableAlias)
        if alias.args.get("columns") and alias.this is not None and "start" in alias.this.meta
    )


def _check_relations(tree: exp.Expr, scope: Scope) -> frozenset[Relation]:
    known = {
        tuple(folded(part, scope.dialect, quoted=True) for part in relation): relation
        for relation in scope.relations
    }
    used = relations(tree, scope.dialect)
    for relation, written in used.items():
        if relation not in known:
            raise _NotAllowed("relation", written, _unknown_relation(written, scope))
    return frozenset(known[relation] for relation in used)


def _impose_limit(tree: exp.Expr, max_rows: int) -> None:
    limit = tree.args.get("limit")
    if limit is not None:
        count = limit.expression
        is_all = isinstance(count, exp.Var) and count.name.upper() == "ALL"
        if not is_all:
            if not isinstance(count, exp.Literal) or count.is_string or not count.is_int:
                raise _NotAllowed("syntax", "", "Write LIMIT with a plain number.")
            if int(count.name) <= max_rows:
                return
    else:
        limit = exp.Limit()
        tree.set("limit", limit)
    limit.set("expression", exp.Literal.number(max_rows))


def _not_allowed(node: exp.Expr, vocabulary: Vocabulary) -> _NotAllowed:
    if isinstance(node, exp.Func):
        return _unknown_function(node.sql_name().lower(), vocabulary)
    kind = type(node).__name__
    return _NotAllowed("statement", kind, f"{kind} is not available here; use a plain SELECT.")


def _unknown_function(name: str, vocabulary: Vocabulary) -> _NotAllowed:
    near = difflib.get_close_matches(name.lower(), sorted(vocabulary.functions), n=3)
    hint = f" Did you mean {', '.join(near)}?" if near else ""
    message = f"The function {_short(name)} is not available here.{hint}"
    return _NotAllowed("function", _short(name), message)


def _unknown_relation(written: str, scope: Scope) -> str:
    names = sorted(".".join(relation) for relation in scope.relations)
    shown = ", ".join(names[:_NAMES_SHOWN]) or "none"
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"There is no table {_short(written)} here. Available tables: {shown}{more}."


def _short(name: str) -> str:
    plain = "".join(character if character.isprintable() else "?" for character in name)
    return plain if len(plain) <= 100 else f"{plain[:100]}…"


def _explain(error: SqlglotError) -> str:
    found = getattr(error, "errors", None)
    if not found:
        return ""
    first = found[0]
    description = re.sub(r"<[^>]*>", "something else", str(first.get("description") or ""))
    return f"{description} (line {first.get('line')}, column {first.get('col')})."


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
