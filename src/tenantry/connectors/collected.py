"""Rows of a result as they arrive, counted: never more, and never larger, than allowed (CON-3)."""

from collections.abc import Sequence

import orjson

from tenantry.connectors.base import QueryLimits, QueryResult
from tenantry.core.events import Json


class Collected:
    """The rows that fit, and whether there were more."""

    def __init__(
        self, limits: QueryLimits, columns: Sequence[str] = (), types: Sequence[str] = ()
    ) -> None:
        """Nothing yet.

        Args:
            limits: the ceilings.
            columns: their names.
            types: their logical types; empty where the source does not tell.
        """
        self._limits = limits
        self._columns = tuple(columns)
        self._types = tuple(types)
        self._rows: list[tuple[Json, ...]] = []
        self._size_bytes = len("[]")
        self._is_cut = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, as far as they are known."""
        return self._columns

    def name(self, columns: Sequence[str]) -> None:
        """Say what the columns are called, where that comes with the rows."""
        self._columns = tuple(columns)

    def take(self, row: Sequence[Json]) -> bool:
        """Add a row; False when it does not fit any more."""
        comma = 1 if self._rows else 0
        size_bytes = self._size_bytes + len(orjson.dumps(row)) + comma
        if len(self._rows) == self._limits.max_rows or size_bytes > self._limits.max_bytes:
            self.cut()
            return False
        self._rows.append(tuple(row))
        self._size_bytes = size_bytes
        return True

    def cut(self) -> None:
        """Note that there was more."""
        self._is_cut = True

    def result(self, sql: str, duration_ms: int) -> QueryResult:
        """The rows taken."""
        return QueryResult(
            columns=self._columns,
            rows=tuple(self._rows),
            sql=sql,
            truncated=self._is_cut,
            duration_ms=duration_ms,
            size_bytes=self._size_bytes,
            types=self._types,
        )
