"""Holds a query to the columns that its tables may show (CON-3).

Threat: a hidden column is reached by `*`, a whole row (`row_to_json(t)`), NATURAL JOIN, a list of
new column names, an ORDER BY, or a bare name in a subquery that means another table's column than
its author seems to say. In PostgreSQL `x.f` may even call the function f.
Invariant: where a name provably means a visible column it stays as it is. A table that any name
could reach otherwise is replaced by a subquery of its visible columns, so that for the rest of the
statement, and for the database, hidden ones do not exist. A name that nothing visible has is
refused, and so can be recorded.
"""

from collections.abc import Collection, Mapping, Sequence

from sqlglot import exp

from tenantry.connectors.sql_refusals import unknown_column, unknown_function
from tenantry.connectors.sql_relations import Relation
from tenantry.connectors.sql_sources import OPEN, Level, Names, Source
from tenantry.connectors.sql_vocabulary import VOCABULARIES, Dialect
from tenantry.connectors.sql_walls import called, spelt, wall

# What PostgreSQL's table functions call their columns.
_FUNCTION_COLUMNS = frozenset({"key", "value", "ordinality"})


def confine(
    statement: exp.Expr,
    dialect: Dialect,
    stored: Mapping[int, Relation],
    columns: Mapping[Relation, Sequence[str]] | None,
) -> None:
    """Refuse names of hidden columns, and put walls around tables that show too much.

    Args:
        statement: changed in place.
        dialect: how names are compared, and what they may mean.
        stored: the relation of each table of the source, by its node's `id`.
        columns: those that each relation may show; None for all of them.

    Raises:
        NotAllowed: a name is no visible column.
    """
    if columns is None and dialect != "postgres":
        return
    shown = (
        {relation: tuple(columns.get(relation, ())) for relation in set(stored.values())}
        if columns is not None
        else None
    )
    resolver = _Resolver(dialect, stored, shown)
    resolver.check(statement)
    for table in resolver.exposed.values():
        wall(table, stored[id(table)], resolver.shown(table))


_Chain = tuple[Level, ...]
_Expressions = Mapping[str, Source]


class _Resolver:
    def __init__(
        self,
        dialect: Dialect,
        stored: Mapping[int, Relation],
        shown: Mapping[Relation, Sequence[str]] | None,
    ) -> None:
        self.exposed: dict[int, exp.Table] = {}
        self._dialect = dialect
        self._names = Names(dialect)
        self._entered: set[int] = set()
        self._stored = stored
        self._shown = shown
        self._functions = VOCABULARIES[dialect].functions

    def shown(self, table: exp.Table) -> Sequence[str]:
        """Columns that `table` may show, as the source spells them."""
        return () if self._shown is None else self._shown[self._stored[id(table)]]

    def check(self, statement: exp.Expr) -> None:
        """Check a whole statement."""
        self.query(statement, (), {})
        for table in statement.find_all(exp.Table):
            # A table at a place where this looks for none: nothing is known about its names.
            if id(table) in self._stored and id(table) not in self._entered:
                self._expose(Source(frozenset(), closed=True, table=table))

    def query(self, node: exp.Expr, chain: _Chain, ctes: _Expressions) -> Source:
        """Check a query below the levels of `chain`; what it looks like from outside."""
        ctes = self._with(node, chain, ctes)
        if isinstance(node, exp.Subquery):
            result = self.query(node.this, chain, ctes)
        elif isinstance(node, exp.SetOperation):
            result = self.query(node.left, chain, ctes)
            right = self.query(node.right, chain, ctes)
            result = result._replace(closed=result.closed and right.closed)
        elif isinstance(node, exp.Select):
            return self._select(node, chain, ctes)
        else:
            self._expressions(node, chain, ctes)
            return OPEN
        level = Level([("", result)], result.names)
        for clause in ("order", "limit", "offset"):
            self._ordered(node.args.get(clause), (*chain, level), ctes)
        return result

    def _with(self, node: exp.Expr, chain: _Chain, ctes: _Expressions) -> _Expressions:
        with_ = node.args.get("with_")
        if not isinstance(with_, exp.With):
            return ctes
        known = dict(ctes)
        for cte in with_.expressions:
            alias = cte.args["alias"]
            name = self._names.alias(alias.this)
            body = cte.this
            if with_.recursive and isinstance(body, exp.SetOperation):
                inside = self._with(body, chain, known)
                known[name] = self._renamed(self.query(body.left, chain, inside), alias)
            known[name] = self._renamed(self.query(body, chain, known), alias)
        return known

    def _select(self, node: exp.Select, chain: _Chain, ctes: _Expressions) -> Source:
        level = Level()
        inside = (*chain, level)
        joins: list[exp.Join] = []
        from_ = node.args.get("from_")
        if from_ is not None:
            self._enter(from_.this, inside, ctes, joins)
        for join in node.args.get("joins") or ():
            self._join(join, inside, ctes, joins)
        for lateral in node.args.get("laterals") or ():
            self._enter(lateral, inside, ctes, joins)
        if node.args.get("group") is not None:
            node.set(
                "expressions", [e for each in node.expressions for e in self._spelt(each, level)]
            )
        result = self._results(node.expressions, level)
        level.results = self._given_names(node.expressions)
        for join in joins:
            self._expressions(join.args.get("on"), inside, ctes)
        for name, part in node.args.items():
            if name == "order":
                self._ordered(part, inside, ctes)
            elif name not in {"from_", "joins", "laterals", "with_"}:
                self._each(part, inside, ctes)
        return result

    def _enter(
        self, node: exp.Expr, inside: _Chain, ctes: _Expressions, joins: list[exp.Join]
    ) -> None:
        """Add what stands in a FROM to the innermost level."""
        level = inside[-1]
        alias = node.args.get("alias")
        if isinstance(node, exp.Subquery) and not isinstance(node.this, exp.Query):
            before = len(level.sources)
            self._enter(node.this, inside, ctes, joins)
            if alias is not None and alias.this is not None:
                name = self._names.alias(alias.this)
                level.sources.append((name, self._merged(level.sources[before:])))
        else:
            source = self._source(node, inside, ctes)
            if alias is not None and alias.args.get("columns") and source.table is not None:
                self._expose(source)
            name = (
                self._names.alias(alias.this)
                if alias is not None and alias.this is not None
                else ""
            )
            if not name and isinstance(node, exp.Table):
                name = self._names.alias(node.this) if isinstance(node.this, exp.Identifier) else ""
            level.sources.append((name, self._renamed(source, alias)))
        for join in node.args.get("joins") or ():
            self._join(join, inside, ctes, joins)
        for lateral in node.args.get("laterals") or ():
            self._enter(lateral, inside, ctes, joins)

    def _source(self, node: exp.Expr, inside: _Chain, ctes: _Expressions) -> Source:
        if id(node) in self._stored and isinstance(node, exp.Table):
            self._entered.add(id(node))
            relation = self._stored[id(node)]
            if self._shown is None:
                return Source(frozenset(), closed=False, table=node)
            names = frozenset(
                self._names.column(name, quoted=True) for name in self._shown[relation]
            )
            return Source(names, closed=True, table=node)
        if isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier):
            return ctes.get(self._names.alias(node.this), OPEN)
        if isinstance(node, exp.Subquery):
            return self.query(node, inside, ctes)
        if isinstance(node, exp.Lateral) and isinstance(node.this, exp.Subquery):
            return self.query(node.this, inside, ctes)
        self._expressions(node, inside, ctes)
        place = node.args.get("offset")  # the name that WITH ORDINALITY's column gets
        name = {self._names.of(place)} if isinstance(place, exp.Identifier) else set()
        return Source(frozenset(name), closed=False, scalar=not isinstance(node, exp.Values))

    def _join(
        self, join: exp.Join, inside: _Chain, ctes: _Expressions, joins: list[exp.Join]
    ) -> None:
        level = inside[-1]
        before = len(level.sources)
        self._enter(join.this, inside, ctes, joins)
        left, right = level.sources[:before], level.sources[before:]
        joins.append(join)
        if join.args.get("method"):  # NATURAL, ASOF, POSITIONAL
            for _, source in level.sources:
                self._expose(source)
        for identifier in join.args.get("using") or ():
            name = self._names.of(identifier)
            for side in (left, right):
                if not any(name in source.names for _, source in side):
                    self._unknown(exp.column(identifier.copy()), name, inside, [s for _, s in side])
                for _, source in side:
                    if name not in source.names and self._dialect != "duckdb":
                        self._expose(source)  # it would be ambiguous if that were hidden there

    def _results(self, expressions: Collection[exp.Expr], level: Level) -> Source:
        names: set[str] = set()
        closed = True
        for each in expressions:
            starred = self._starred(each, level)
            if starred is not None:
                for source in starred:
                    self._expose(source)
                    names |= source.names
                    closed = closed and source.closed
            elif isinstance(each, exp.Column) or each.args.get("alias") is not None:
                names.add(self._names.result(each))
            else:
                closed = False
        return Source(frozenset(names), closed)

    def _spelt(self, each: exp.Expr, level: Level) -> Sequence[exp.Expr]:
        """`t.*` beside a GROUP BY, by the columns it stands for.

        A wall around `t` would do too, but servers know what a key says of the other columns of
        its table (`GROUP BY t.id`), and behind a wall they do not.
        """
        starred = self._starred(each, level) or ()
        if self._dialect == "duckdb" or self._shown is None or len(starred) != 1:
            return [each]
        table = starred[0].table
        return [each] if table is None else spelt(table, self.shown(table)) or [each]

    def _given_names(self, expressions: Collection[exp.Expr]) -> frozenset[str]:
        return frozenset(
            self._names.result(each) for each in expressions if each.args.get("alias") is not None
        )

    def _merged(self, entered: Sequence[tuple[str, Source]]) -> Source:
        """What a join in parentheses with an alias looks like; all columns of its tables."""
        for _, source in entered:
            self._expose(source)
        sources = [source for _, source in entered]
        return Source(self._visible(sources), all(source.closed for source in sources))

    def _starred(self, node: exp.Expr, level: Level) -> list[Source] | None:
        if isinstance(node, exp.Columns):
            return [*(source for _, source in level.sources), OPEN]
        if isinstance(node, exp.Column) and isinstance(node.this, exp.Star):
            return list(level.named(self._names.alias(node.args["table"]))) or [OPEN]
        if isinstance(node, exp.Star):
            return [source for _, source in level.sources]
        return None

    def _each(self, part: object, chain: _Chain, ctes: _Expressions) -> None:
        for node in part if isinstance(part, list) else [part]:
            self._expressions(node, chain, ctes)

    def _ordered(self, part: object, chain: _Chain, ctes: _Expressions) -> None:
        if not isinstance(part, exp.Order):
            self._each(part, chain, ctes)
            return
        for each in part.expressions:
            column = each.this if isinstance(each, exp.Ordered) else each
            bare = isinstance(column, exp.Column) and not column.table
            # A bare name means a result before it means a column.
            if not bare or self._names.of(column.this) not in chain[-1].results:
                self._expressions(each, chain, ctes)

    def _expressions(self, node: object, chain: _Chain, ctes: _Expressions) -> None:
        """Check every column in an expression, and the queries in it."""
        if not isinstance(node, exp.Expr):
            return
        if isinstance(node, exp.Query):
            self.query(node, chain, ctes)
        elif isinstance(node, exp.Column):
            self._resolve(node, chain)
        elif isinstance(node, exp.Star | exp.Columns):
            # Those of a SELECT were looked at with its results.
            if not isinstance(node, exp.Star) or not isinstance(
                node.parent, exp.Count | exp.Select
            ):
                self._expose_all(chain)
            self._each(list(node.iter_expressions()), chain, ctes)
        else:
            for child in node.iter_expressions():
                self._expressions(child, chain, ctes)

    def _resolve(self, column: exp.Column, chain: _Chain) -> None:
        if isinstance(column.this, exp.Star):
            self._expose_all(chain)
        elif column.table:
            self._resolve_qualified(column, chain)
        elif self._shown is not None and chain:
            name = self._names.of(column.this)
            if any(name in source.names for _, source in chain[-1].sources):
                self._settle(column, name, chain[-1])
            else:
                self._unknown(column, name, chain, [s for lv in chain for _, s in lv.sources])

    def _settle(self, column: exp.Column, name: str, level: Level) -> None:
        """A bare name that something shows: it must not be ambiguous for what others hide."""
        if self._dialect == "duckdb":
            return  # a lambda's parameter may be meant; and no connector of files hides columns
        having = [(alias, source) for alias, source in level.sources if name in source.names]
        others = [s for _, s in level.sources if s.table is not None and name not in s.names]
        if not others:
            return
        alias, source = having[0]
        is_alone = len(having) == len(list(level.named(alias))) == 1
        if is_alone and source.table is not None and name not in level.results:
            column.set("table", called(source.table))
            return
        for other in others:  # a result of that name may be meant
            self._expose(other)

    def _unknown(
        self, column: exp.Column, name: str, chain: _Chain, looked: Sequence[Source]
    ) -> None:
        """A bare name that the nearest sources do not show: refused, or cut off from the others."""
        sources = [source for level in chain for _, source in level.sources]
        aliases = {alias for level in chain for alias, _ in level.sources}
        known = any(name in source.names for source in looked) or name in aliases
        results = any(name in level.results for level in chain)
        if not known and not results and all(source.closed for source in looked) and looked:
            raise unknown_column(column.name, self._visible(sources))
        for source in sources:
            if name not in source.names:
                self._expose(source)

    def _resolve_qualified(self, column: exp.Column, chain: _Chain) -> None:
        qualifier, name = column.args["table"], column.this
        if column.args.get("db") is not None:
            qualifier, name = self._qualifier(column, chain)
        alias = self._names.alias(qualifier)
        found = [source for level in chain for source in level.named(alias)]
        wanted = self._names.of(name)
        written = f"{qualifier.name}.{name.name}"
        if not found:
            if self._dialect != "duckdb":
                sources = [source for level in chain for _, source in level.sources]
                raise unknown_column(written, self._visible(sources))
            self._resolve(exp.column(qualifier.copy()), chain)  # a field of a column
        for source in found:
            if wanted not in source.names:
                self._missing(written, wanted, source, alias)

    def _qualifier(self, column: exp.Column, chain: _Chain) -> tuple[exp.Expr, exp.Expr]:
        """Alias and column of a name in three parts; the schema goes, the alias says enough."""
        schema, table = column.args["db"], column.args["table"]
        if self._dialect == "duckdb":
            known = any(True for level in chain for _ in level.named(self._names.alias(schema)))
            return (schema, table) if known else (table, column.this)
        for part in ("db", "catalog"):
            column.set(part, None)
        return table, column.this

    def _missing(self, written: str, name: str, source: Source, alias: str) -> None:
        if source.closed:
            raise unknown_column(written, source.names)
        if self._dialect != "postgres" or source.table is not None:
            return
        allowed = self._functions | (_FUNCTION_COLUMNS | {alias} if source.scalar else set())
        if name not in allowed:
            raise unknown_function(name, self._functions)

    def _expose_all(self, chain: _Chain) -> None:
        for level in chain:
            for _, source in level.sources:
                self._expose(source)

    def _expose(self, source: Source) -> None:
        if source.table is not None and self._shown is not None:
            self.exposed[id(source.table)] = source.table

    def _renamed(self, source: Source, alias: exp.Expr | None) -> Source:
        given = (alias.args.get("columns") if alias is not None else None) or ()
        names = {self._names.of(each) for each in given}
        if not names:
            return source
        return source._replace(names=source.names | names)

    def _visible(self, sources: Sequence[Source]) -> frozenset[str]:
        return frozenset().union(*(source.names for source in sources))
