"""Ways to show a table's visible columns and no others: a wall around it, or their names."""

from collections.abc import Sequence

from sqlglot import exp

from tenantry.connectors.sql_refusals import unknown_column
from tenantry.connectors.sql_relations import Relation


def wall(table: exp.Table, relation: Relation, visible: Sequence[str]) -> None:
    """Put a subquery of the visible columns in the table's place.

    Raises:
        NotAllowed: there are none.
    """
    if not visible:
        raise unknown_column(f"{'.'.join(relation)}.*", ())
    alias = table.args.get("alias") or exp.TableAlias(this=table.this.copy())
    moved = {part: table.args.get(part) for part in ("joins", "laterals") if table.args.get(part)}
    inner = exp.Table(
        **{
            part: value
            for part, value in table.args.items()
            if part in {"this", "db", "catalog", "sample"} and value
        }
    )
    names = [exp.column(exp.to_identifier(name, quoted=True)) for name in visible]
    select = exp.Select(expressions=names, from_=exp.From(this=inner))
    table.replace(exp.Subquery(this=select, alias=alias, **moved))


def spelt(table: exp.Table, visible: Sequence[str]) -> list[exp.Expr]:
    """The columns that `table.*` stands for; none for a table whose columns have new names."""
    alias = table.args.get("alias")
    if alias is not None and alias.args.get("columns"):
        return []
    names = [exp.to_identifier(name, quoted=True) for name in visible]
    return [exp.column(name, table=called(table)) for name in names]


def called(table: exp.Table) -> exp.Identifier:
    """What the table is called in its query."""
    alias = table.args.get("alias")
    name = table.this if alias is None else alias.this
    return exp.Identifier(this=name.name, quoted=bool(name.args.get("quoted")))
