"""The corpora of SQL: analytic statements that must pass, hostile ones that must not.

`analytic/*.sql`: statements between blank lines; a block of `--` lines alone is a remark.
`hostile/*.txt`: under a heading `[dialect reason]`, one statement a line; `⏎` is a line break.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tenantry.connectors.sql_guard import Reason
from tenantry.connectors.sql_vocabulary import DIALECTS, Dialect

_HERE = Path(__file__).parent
_EVERYWHERE = ("tpch", "chinook")


class Hostile(NamedTuple):
    """A statement that reaches outside, and what is refused about it."""

    dialect: Dialect
    reason: Reason
    statement: str


def analytic(dialect: Dialect) -> list[str]:
    """Statements over Chinook and TPC-H in the SQL of that source."""
    return [statement for file in (*_EVERYWHERE, dialect) for statement in _blocks(file)]


def all_analytic() -> list[tuple[Dialect, str]]:
    """Every analytic statement once, with the first source that can read it."""
    everywhere: list[tuple[Dialect, str]] = [
        ("duckdb", each) for file in _EVERYWHERE for each in _blocks(file)
    ]
    return everywhere + [(dialect, each) for dialect in DIALECTS for each in _blocks(dialect)]


def hostile() -> list[Hostile]:
    """Every hostile statement."""
    return [each for path in sorted((_HERE / "hostile").glob("*.txt")) for each in _hostile(path)]


def _blocks(file: str) -> list[str]:
    text = (_HERE / "analytic" / f"{file}.sql").read_text(encoding="utf-8")
    return [block.strip() for block in text.split("\n\n") if not block.startswith("--")]


def _hostile(path: Path) -> Iterator[Hostile]:
    dialect: Dialect = "duckdb"
    reason: Reason = "statement"
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            named, meant = line.strip("[]").split()
            dialect = next(each for each in DIALECTS if each == named)
            reason = next(each for each in _REASONS if each == meant)
        elif line and not line.startswith("#"):
            yield Hostile(dialect, reason, line.replace("⏎", "\n"))


_REASONS: tuple[Reason, ...] = ("syntax", "statement", "function", "relation", "column")
