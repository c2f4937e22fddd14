"""The statements that the guard is tried on; the tables are those of `sample_tables`."""

from pathlib import Path

import duckdb

_HERE = Path(__file__).parent


def _lines(file: str) -> list[str]:
    lines = (_HERE / file).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def legitimate() -> list[str]:
    """Analytic SQL; its result must not depend on the guard."""
    return [*_lines("legitimate.txt"), "SELECT -- the hub\n origin /* code */ FROM flights"]


def malformed() -> list[str]:
    """Mistakes, not attacks."""
    return [
        "",
        "   ",
        ";",
        "-- nothing",
        "SELECT FROM WHERE",
        "SELECT * FROM",
        "SELECT 'unterminated",
        "SELECT * FROM flights WHERE (",
        "SELECT \x00 1",
        "SELECT '\ud800'",
        "SELECT * FROM flights LIMIT 1 + 1",
        "SELECT * FROM flights LIMIT '5'",
        "SELECT * FROM flights LIMIT -1",
        "SELECT * FROM flights LIMIT 1.5",
        "SELECT " + "(" * 2_000 + "1" + ")" * 2_000,
        "SELECT " + "NOT " * 3_000 + "true",
        "SELECT 1" + " UNION ALL SELECT 1" * 1_000,
        "SELECT " + "1, " * 6_000 + "1",
        "SELECT datediff() FROM flights",
        "SELECT " + "1, " * 7_000 + "1",
    ]


def sample_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the tables that the statements speak of, with a few rows each."""
    connection.execute((_HERE / "sample_tables.sql").read_text(encoding="utf-8"))
