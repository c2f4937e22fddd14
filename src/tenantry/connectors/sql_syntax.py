"""Which syntax and which functions a statement may be made of, whatever they are applied to.

Threat: writes, settings, files and side effects hide in any corner of a statement, and functions
hide behind other names, other syntax and mistakes of the grammar.
Invariant: every node of the tree is allowed by its class, every call by its class and by the name
that stands in the text.
"""

import itertools
import re
from collections.abc import Sequence

import sqlglot
from sqlglot import Token, TokenType, exp

from tenantry.connectors.sql_parsing import parsed
from tenantry.connectors.sql_refusals import NotAllowed, mistake, short, unknown_function
from tenantry.connectors.sql_vocabulary import VOCABULARIES, Dialect, Vocabulary

_MOST_NODES = 5_000
_WORD = re.compile(r"\w+")
_FIRST_WORDS = frozenset({"select", "with", "from", "("})
_LITERALS = frozenset({TokenType.STRING, TokenType.NUMBER})
# What (expression).name may be in PostgreSQL beside an allowed function: no functions of its own.
_FIELDS = frozenset({"key", "value"})
_TABLE_PARTS = frozenset(
    {"this", "db", "catalog", "alias", "joins", "laterals", "sample", "ordinality"}
)


def read(text: str, dialect: Dialect) -> exp.Query:
    """The tree of one SELECT that consists of allowed syntax and allowed functions only.

    Raises:
        NotAllowed: it does not.
        SqlglotError: the text cannot be read.
    """
    tokens = _tokens(text, dialect)
    vocabulary = VOCABULARIES[dialect]
    tree = parsed(tokens, text, dialect)
    if not isinstance(tree, exp.Select | exp.SetOperation | exp.Subquery):
        kind = type(tree).__name__
        raise NotAllowed("statement", kind, f"Only a SELECT can be run here, not {kind}.")
    _check_nodes(tree, vocabulary, dialect)
    check_calls(tokens, tree, vocabulary)
    return tree


def reread(text: str, dialect: Dialect, written: Sequence[object]) -> bool:
    """Whether `text`, written from a tree of the shape `written`, is read as that tree again."""
    tokens = _tokens(text, dialect)
    tree = parsed(tokens, text, dialect)
    if tree is None or shape(tree) != written:
        return False
    check_calls(tokens, tree, VOCABULARIES[dialect])
    return True


def shape(tree: exp.Expr) -> list[object]:
    """All that a tree says, in one list: two trees of one shape are equal.

    Taken before a tree is written, so that writing may change the tree instead of a copy of it.
    What is equal is what sqlglot takes for equal: outside names and literals case does not count.
    """
    found: list[object] = []
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        kind = type(node)
        found.append(kind)
        for name in sorted(node.args):
            value = node.args[name]
            values = value if isinstance(value, list) else [value]
            for each in values:
                if isinstance(each, exp.Expr):
                    found.append(name)
                    waiting.append(each)
                elif each is not None and each is not False:
                    exact = kind._hash_raw_args or not isinstance(each, str)
                    found += (name, each if exact else each.lower())
        found.append(None)  # where a node ends: what follows belongs to another
    return found


def _tokens(text: str, dialect: Dialect) -> list[Token]:
    tokens: list[Token] = sqlglot.tokenize(text, read=dialect)
    while tokens and tokens[-1].token_type == TokenType.SEMICOLON:
        tokens.pop()
    # Looked at before parsing: what sqlglot cannot parse it passes on as an opaque command.
    if not tokens:
        raise mistake("There is no SQL.")
    if tokens[0].text.lower() not in _FIRST_WORDS:
        first = short(tokens[0].text.upper())
        message = f"Only one SELECT statement can be run here, not {first}."
        raise NotAllowed("statement", first, message)
    if any(token.token_type == TokenType.SEMICOLON for token in tokens):
        raise NotAllowed("statement", ";", "Only one statement can be run at a time.")
    if any(token.token_type == TokenType.INTO for token in tokens):
        raise NotAllowed("statement", "INTO", "Results cannot be written anywhere; leave out INTO.")
    return tokens


def _check_nodes(tree: exp.Expr, vocabulary: Vocabulary, dialect: Dialect) -> None:
    for count, node in enumerate(tree.walk()):
        if count >= _MOST_NODES:
            raise mistake("The SQL is too long; write it more simply.")
        if isinstance(node, exp.Anonymous):
            _check_unparsed(node, vocabulary)
        elif type(node).__name__ not in vocabulary.nodes:
            raise _not_allowed(node, vocabulary)
        else:
            _check_parts(node, vocabulary, dialect)


def _check_parts(node: exp.Expr, vocabulary: Vocabulary, dialect: Dialect) -> None:
    match node:
        case exp.DataType() if node.this.name not in vocabulary.types:
            name = short(node.sql())
            raise NotAllowed("statement", name, f"Values cannot be cast to {name} here.")
        case exp.Dot():
            _check_dot(node, vocabulary, dialect)
        case exp.In() if node.args.get("field") is not None:
            message = "Write IN (SELECT …) or IN (value, …)."
            raise NotAllowed("statement", "IN", message)
        case exp.Column() if _is_disguised(node, vocabulary):
            raise unknown_function(node.name, vocabulary.functions)
        case exp.Table() if strange := [
            part for part, value in node.args.items() if value and part not in _TABLE_PARTS
        ]:
            subject = short(strange[0].upper())
            raise NotAllowed("statement", subject, f"{subject} is not available here.")
        case _:
            pass


def _check_dot(node: exp.Dot, vocabulary: Vocabulary, dialect: Dialect) -> None:
    name = node.expression.name
    if not isinstance(node.expression, exp.Identifier):
        message = f"Call {short(name)} by its plain name, without a schema and not as a method."
        raise NotAllowed("function", short(name), message)
    # There ('/etc/passwd').pg_read_file calls the function, as f(x) does.
    if dialect == "postgres" and name.lower() not in vocabulary.functions | _FIELDS:
        raise unknown_function(name, vocabulary.functions)


def _is_disguised(column: exp.Column, vocabulary: Vocabulary) -> bool:
    bare = isinstance(column.this, exp.Identifier) and not column.this.args.get("quoted")
    return bare and not column.table and column.name.lower() in vocabulary.never


def _check_unparsed(call: exp.Anonymous, vocabulary: Vocabulary) -> None:
    # A quoted name would not be a string here: it is refused, allowed or not.
    if not isinstance(call.this, str) or call.this.lower() not in vocabulary.unparsed:
        raise unknown_function(call.name, vocabulary.functions)


def check_calls(tokens: Sequence[Token], tree: exp.Expr, vocabulary: Vocabulary) -> None:
    """Refuse any word before a parenthesis that is no allowed function.

    The tree knows a function by its class, and several names share one. This reads the names that
    the database will read, so neither a synonym nor a mistake in the grammar lets one through.

    Raises:
        NotAllowed: there is such a word.
    """
    strangers = [
        token
        for token, following in itertools.pairwise(tokens)
        if following.token_type == TokenType.L_PAREN
        and token.text.lower() not in vocabulary.callable
        and token.token_type not in _LITERALS
        and _WORD.fullmatch(token.text)
    ]
    if not strangers:
        return
    aliases = _aliases_with_columns(tree)
    for token in strangers:
        if token.start not in aliases:
            raise unknown_function(token.text, vocabulary.functions)


def _aliases_with_columns(tree: exp.Expr) -> frozenset[int]:
    """Where the names in `AS t(a, b)` and `WITH t(a, b)` start in the text: no calls."""
    return frozenset(
        alias.this.meta["start"]
        for alias in tree.find_all(exp.TableAlias)
        if alias.args.get("columns") and alias.this is not None and "start" in alias.this.meta
    )


def _not_allowed(node: exp.Expr, vocabulary: Vocabulary) -> NotAllowed:
    if isinstance(node, exp.Func):
        return unknown_function(node.sql_name().lower(), vocabulary.functions)
    kind = type(node).__name__
    return NotAllowed("statement", kind, f"{kind} is not available here; use a plain SELECT.")
