"""Which names in a statement are tables of the source, and which are common table expressions.

Threat: a query names a table that it may not read, and hides it behind a common table expression
of the same name somewhere else in the statement. So names are resolved by scope, as the database
does, and where databases differ the narrower reading counts: a name is a common table expression
only where every one of them would take it for one.

Where sources have schemas, each name is then written out in full and quoted, so that no search
path, current database or temporary table decides what it means.
"""

from collections.abc import Collection, Iterator, Mapping

from sqlglot import exp

from tenantry.connectors.sql_refusals import NotAllowed, short, unknown_relation
from tenantry.connectors.sql_vocabulary import Dialect

Relation = tuple[str, ...]
"""A table's name in parts: `("orders",)` or `("public", "orders")`."""


def resolve(
    statement: exp.Expr, dialect: Dialect, allowed: Collection[Relation]
) -> dict[int, Relation]:
    """Find the tables of the source that `statement` reads, and write their names in full.

    Args:
        statement: changed in place: names that lack their schema get it.
        dialect: how names are compared.
        allowed: the tables that may be read, spelt as the source has them.

    Returns:
        The relation of each `Table` node that is no common table expression, by the node's `id`.

    Raises:
        NotAllowed: one of them may not be read, or could be several.
    """
    known = {tuple(folded(part, dialect, quoted=True) for part in each): each for each in allowed}
    found: dict[int, Relation] = {}
    for table in _Resolver(dialect).tables(statement, frozenset()):
        relation = _match(table, dialect, known)
        found[id(table)] = relation
        if len(relation) > 1:
            _write_in_full(table, relation)
    return found


def _match(table: exp.Table, dialect: Dialect, known: Mapping[Relation, Relation]) -> Relation:
    named = tuple(fold(part, dialect) for part in table.parts)
    if named in known:
        return known[named]
    written = ".".join(part.name for part in table.parts)
    candidates = [each for each in known if each[-len(named) :] == named]
    if len(candidates) == 1:
        return known[candidates[0]]
    if candidates:
        names = ", ".join(sorted(".".join(known[each]) for each in candidates))
        message = f"{short(written)} could be {names}: write its name in full."
        raise NotAllowed("relation", short(written), message)
    raise unknown_relation(written, known.values())


def _write_in_full(table: exp.Table, relation: Relation) -> None:
    parts = [exp.to_identifier(part, quoted=True) for part in reversed(relation)]
    for place, part in zip(("this", "db", "catalog"), parts, strict=False):
        table.set(place, part)


def fold(identifier: exp.Expr, dialect: Dialect) -> str:
    """The name that `identifier` is, as the database compares it."""
    return folded(identifier.name, dialect, quoted=bool(identifier.args.get("quoted")))


def folded(name: str, dialect: Dialect, *, quoted: bool) -> str:
    """`name` as the database compares it.

    DuckDB ignores case always, PostgreSQL unless quoted; in MySQL it depends on the server's file
    system, so there only the exact spelling counts.
    """
    if dialect == "duckdb" or (dialect == "postgres" and not quoted):
        return name.lower()
    return name


class _Resolver:
    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def tables(self, node: exp.Expr, visible: frozenset[str], own: str = "") -> Iterator[exp.Table]:
        """Tables of the source below `node`.

        Args:
            node: any part of the statement.
            visible: common table expressions that can be named here.
            own: name of the recursive expression whose body `node` is; only the right side of its
                UNION may name it: elsewhere databases look for a table of that name.
        """
        with_ = node.args.get("with_")
        if isinstance(with_, exp.With):
            for cte in with_.expressions:
                name = fold(cte.args["alias"].this, self._dialect)
                yield from self.tables(cte.this, visible, name if with_.recursive else "")
                visible |= {name}
        if isinstance(node, exp.Table) and self._is_stored(node, visible):
            yield node
        recursive_arm = node.expression if own and isinstance(node, exp.Union) else None
        for child in node.iter_expressions():
            if child is not with_:
                inner = visible | {own} if child is recursive_arm else visible
                yield from self.tables(child, inner)

    def _is_stored(self, table: exp.Table, visible: frozenset[str]) -> bool:
        if not isinstance(table.this, exp.Identifier):
            return False  # a table function: judged as a function
        named = tuple(fold(part, self._dialect) for part in table.parts)
        return len(named) > 1 or named[0] not in visible
