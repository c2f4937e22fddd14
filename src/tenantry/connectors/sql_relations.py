"""Which names in a statement are tables of the source, and which are common table expressions.

Threat: a query names a table that it may not read, and hides it behind a common table expression
of the same name somewhere else in the statement. So names are resolved by scope, as the database
does, and where databases differ the narrower reading counts: a name is a common table expression
only where every one of them would take it for one.
"""

from sqlglot import exp

from tenantry.connectors.sql_vocabulary import Dialect

Relation = tuple[str, ...]
"""A table's name in parts: `("orders",)` or `("public", "orders")`."""


def relations(statement: exp.Expr, dialect: Dialect) -> dict[Relation, str]:
    """Tables of the source that `statement` reads, folded as the database folds names.

    Returns:
        For each relation, how the statement writes it.
    """
    found: dict[Relation, str] = {}
    _Resolver(dialect, found).visit(statement, frozenset())
    return found


def folded(name: str, dialect: Dialect, *, quoted: bool) -> str:
    """`name` as the database compares it.

    DuckDB ignores case always, PostgreSQL unless quoted; in MySQL it depends on the server's file
    system, so there only the exact spelling counts.
    """
    if dialect == "duckdb" or (dialect == "postgres" and not quoted):
        return name.lower()
    return name


class _Resolver:
    def __init__(self, dialect: Dialect, found: dict[Relation, str]) -> None:
        self._dialect = dialect
        self._found = found

    def visit(self, node: exp.Expr, visible: frozenset[str], own: str = "") -> None:
        """Collect tables below `node`.

        Args:
            node: any part of the statement.
            visible: common table expressions that can be named here.
            own: name of the recursive expression whose body `node` is; only the right side of its
                UNION may name it: elsewhere databases look for a table of that name.
        """
        with_ = node.args.get("with_")
        if isinstance(with_, exp.With):
            visible = self._expressions(with_, visible)
        if isinstance(node, exp.Table):
            self._table(node, visible)
        recursive_arm = node.expression if own and isinstance(node, exp.Union) else None
        for child in node.iter_expressions():
            if child is with_:
                continue
            self.visit(child, visible | {own} if child is recursive_arm else visible)

    def _expressions(self, with_: exp.With, visible: frozenset[str]) -> frozenset[str]:
        for cte in with_.expressions:
            name = self._fold(cte.args["alias"].this)
            self.visit(cte.this, visible, name if with_.recursive else "")
            visible |= {name}
        return visible

    def _table(self, table: exp.Table, visible: frozenset[str]) -> None:
        if not isinstance(table.this, exp.Identifier):
            return  # a table function: the guard judges it as a function
        relation = tuple(self._fold(part) for part in table.parts)
        if len(relation) > 1 or relation[0] not in visible:
            self._found.setdefault(relation, ".".join(part.name for part in table.parts))

    def _fold(self, identifier: exp.Expr) -> str:
        quoted = bool(identifier.args.get("quoted"))
        return folded(identifier.name, self._dialect, quoted=quoted)
