"""What stands in a query's FROM, by the names that its columns and aliases can be called."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlglot import exp

from tenantry.connectors.sql_relations import fold, folded
from tenantry.connectors.sql_vocabulary import Dialect


class Source(NamedTuple):
    """A table, a query or a function in a FROM.

    Attributes:
        names: of its columns, as the database compares them.
        closed: False when there may be more columns than those.
        table: the node, if it is a table of the connector.
        scalar: True for what may be one value a row: in PostgreSQL its alias is then that value.
    """

    names: frozenset[str]
    closed: bool
    table: exp.Table | None = None
    scalar: bool = False


OPEN = Source(frozenset(), closed=False)


@dataclass(slots=True)
class Level:
    """The sources of one SELECT by alias, and the names that its results get."""

    sources: list[tuple[str, Source]] = field(default_factory=list)
    results: frozenset[str] = frozenset()

    def named(self, alias: str) -> Iterator[Source]:
        """Those that can be called `alias`."""
        return (source for name, source in self.sources if name == alias)


@dataclass(frozen=True, slots=True)
class Names:
    """How a dialect compares names; where servers differ, whatever could be meant counts."""

    dialect: Dialect

    def alias(self, identifier: exp.Expr) -> str:
        """The name of a table or of an alias."""
        name = fold(identifier, self.dialect)
        return name.lower() if self.dialect == "mysql" else name

    def column(self, name: str, *, quoted: bool) -> str:
        """The name of a column, by its spelling."""
        name = folded(name, self.dialect, quoted=quoted)
        return name.lower() if self.dialect == "mysql" else name

    def of(self, identifier: exp.Expr) -> str:
        """The name of a column, by the node that names it."""
        if isinstance(identifier, exp.ColumnDef):
            identifier = identifier.this
        return self.column(identifier.name, quoted=bool(identifier.args.get("quoted")))

    def result(self, expression: exp.Expr) -> str:
        """The name that a column or an expression with an alias has in the result."""
        alias = expression.args.get("alias")
        identifier = alias if alias is not None else expression.this
        quoted = isinstance(identifier, exp.Expr) and bool(identifier.args.get("quoted"))
        return self.column(expression.alias_or_name, quoted=quoted)
