"""A database as a model is told of it: names, types, what they mean, a few values (CON-2)."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tenantry.connectors.base import Column, Table
from tenantry.connectors.sql_relations import Relation
from tenantry.core.errors import QueryFailed, SourceUnreachable

_SAMPLED_TABLES = 40  # each costs a query; a larger database is described without values
_SHOWN_VALUES, _SHOWN_CHARACTERS = 3, 40


@dataclass(frozen=True, slots=True)
class FoundColumn:
    """A column: the server's own type, its comment, whether it is of the key, where it refers to.

    Attributes:
        refers_to: `table.column` of a foreign key's other end; empty if it is none.
    """

    name: str
    type: str
    comment: str
    is_key: bool
    refers_to: str


@dataclass(frozen=True, slots=True)
class FoundTable:
    """A table or view; `rows` is the server's estimate, -1 where it has none.

    Attributes:
        is_stored: False for a view: what one costs, or whether it still works, shows only when it
            is read.
    """

    schema: str
    name: str
    comment: str
    rows: int
    columns: tuple[FoundColumn, ...]
    is_stored: bool = True

    @property
    def relation(self) -> Relation:
        """Its name in full."""
        return (self.schema, self.name)

    def within(self, allowed: frozenset[str] | None) -> "FoundTable":
        """With those columns alone; None for all."""
        if allowed is None:
            return self
        return replace(self, columns=tuple(c for c in self.columns if c.name in allowed))


Values = Callable[[FoundTable, Sequence[str]], Awaitable[Mapping[str, Sequence[str]]]]
"""Looks up some values of columns of a table, by column."""


async def samples(
    found: Sequence[FoundTable], types: tuple[str, ...], values: Values
) -> Mapping[Relation, Mapping[str, Sequence[str]]]:
    """Some values of the columns whose types begin with one of `types`, by table and column.

    Raises:
        SourceUnreachable: the connection is lost.
    """
    sampled = {}
    for table in [table for table in found if table.is_stored][:_SAMPLED_TABLES]:
        names = [c.name for c in table.columns if c.type.lower().startswith(types)]
        try:
            sampled[table.relation] = await values(table, names) if names else {}
        except SourceUnreachable:
            raise
        except QueryFailed:
            continue  # one damaged table must not hide the others
    return sampled


def texts(rows: Iterable[Sequence[bytes | None]]) -> Iterator[list[str]]:
    """Rows of a catalogue as texts, NULL as the empty one."""
    for row in rows:
        yield [_text(value) for value in row]


def by_column(
    columns: Sequence[str], rows: Sequence[Sequence[bytes | None]]
) -> Mapping[str, Sequence[str]]:
    """What is in each column of sampled rows, as texts, each once, in the order of the rows."""
    return {
        name: tuple(dict.fromkeys(_text(row[at]) for row in rows if row[at] is not None))
        for at, name in enumerate(columns)
    }


def reference(schema: str, there: Sequence[str]) -> str:
    """The other end of a foreign key, as seen from a table of `schema`.

    Args:
        schema: of the table that refers.
        there: schema, table and column that it refers to.
    """
    other, table, column = there
    return f"{table}.{column}" if schema == other else f"{other}.{table}.{column}"


def told(name: str, table: FoundTable, values: Mapping[str, Sequence[str]]) -> Table:
    """A table as a model is told of it, under `name`."""
    columns = tuple(
        Column(c.name, c.type, _description(c, values.get(c.name, ()))) for c in table.columns
    )
    return Table(name, columns, table.rows, table.comment)


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")


def _description(column: FoundColumn, samples: Sequence[str]) -> str:
    parts = [column.comment] if column.comment else []
    if column.is_key:
        parts.append("primary key")
    if column.refers_to:
        parts.append(f"refers to {column.refers_to}")
    if samples:
        shown = ", ".join(value[:_SHOWN_CHARACTERS] for value in samples[:_SHOWN_VALUES])
        parts.append(f"for example: {shown}")
    return "; ".join(parts)
