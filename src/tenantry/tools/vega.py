"""Vega-Lite specifications from rows: built by us, never written by a model.

A specification can hold expressions, links and addresses to load; one that a model wrote would be
code in the member's browser. So a model chooses kind, columns and title, which are only ever texts
in the specification, and fields are named by us: a dot or a bracket in a column's name would be a
path to Vega-Lite.
Source: Vega-Lite 6, https://vega.github.io/vega-lite/docs/spec.html
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tenantry.core.events import Json

ChartKind = Literal["bar", "line", "area", "point", "pie"]
FieldType = Literal["quantitative", "temporal", "nominal"]

_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_DATE = re.compile(r"\d{4}-\d{2}(-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?)?")
_NUMERIC = frozenset({"integer", "decimal", "float"})
_TEMPORAL = frozenset({"date", "timestamp"})


@dataclass(frozen=True, slots=True)
class Series:
    """One column of a chart: its name as shown, its values, and the source's type if known."""

    title: str
    values: Sequence[Json]
    type: str = ""

    @property
    def field_type(self) -> FieldType:
        """How Vega-Lite is to read the values."""
        if self.type in _TEMPORAL:
            return "temporal"
        known = [value for value in self.values if value is not None]
        if self.type in _NUMERIC or (known and all(_number(v) is not None for v in known)):
            return "quantitative"
        if known and all(isinstance(v, str) and _DATE.fullmatch(v) for v in known):
            return "temporal"
        return "nominal"

    def shown(self) -> list[Json]:
        """The values as the specification holds them: numbers as numbers."""
        if self.field_type == "quantitative":
            return [_number(value) for value in self.values]
        return [v if isinstance(v, str | int | float | None) else str(v) for v in self.values]


def chart(
    kind: ChartKind, title: str, x: Series, y: Series, split: Series | None = None
) -> Mapping[str, Json]:
    """A specification with its data inside: nothing to load, nothing to execute."""
    columns = {"x": x.shown(), "y": y.shown(), **({"split": split.shown()} if split else {})}
    values: list[Json] = [
        dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
    ]
    return {
        "$schema": _SCHEMA,
        "title": title,
        "data": {"values": values},
        "mark": {"type": "arc" if kind == "pie" else kind, "tooltip": True},
        "encoding": _pie(x, y) if kind == "pie" else _axes(x, y, split),
    }


def _axes(x: Series, y: Series, split: Series | None) -> Mapping[str, Json]:
    # Sorted by the query, not by the chart: the order of rows is part of the answer.
    across: dict[str, Json] = {"field": "x", "type": x.field_type, "title": x.title}
    if x.field_type == "nominal":
        across["sort"] = None
    encoding: dict[str, Json] = {
        "x": across,
        "y": {"field": "y", "type": y.field_type, "title": y.title},
    }
    if split is not None:
        encoding["color"] = {"field": "split", "type": "nominal", "title": split.title}
    return encoding


def _pie(x: Series, y: Series) -> Mapping[str, Json]:
    return {
        "theta": {"field": "y", "type": "quantitative", "title": y.title},
        "color": {"field": "x", "type": "nominal", "title": x.title, "sort": None},
    }


def _number(value: Json) -> float | int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, int):
        return value
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
