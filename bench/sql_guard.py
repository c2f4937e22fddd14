"""What the SQL guard costs: time to decide and rewrite each statement of the analytic corpus.

Two lines: without a list of columns, and with one, which resolves every name. The time is the
processor's own for one thread, so that whatever else the machine does is left out. Target: p95 of
5 ms.

Run: python bench/sql_guard.py [--rounds 5] [--json]
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence

from tests.sources.analytics import analytics, columns
from tests.unit.connectors.corpora import all_analytic

from tenantry.connectors.sql_guard import Approved, Relation, Scope, check
from tenantry.connectors.sql_vocabulary import Dialect

_SCHEMAS: Mapping[Dialect, tuple[str, ...]] = {
    "duckdb": (),
    "postgres": ("public",),
    "mysql": ("shop",),
}
_GOAL_MS = 5.0
_MOST_ROWS = 501


def measure(
    known: Mapping[Dialect, Mapping[Relation, Sequence[str]]], rounds: int, *, listed: bool
) -> list[float]:
    """Milliseconds of each decision.

    Raises:
        RuntimeError: a statement was refused: its time would be that of a refusal.
    """
    taken: list[float] = []
    for _ in range(rounds):
        for dialect, statement in all_analytic():
            tables = known[dialect]
            scope = Scope(dialect, tables.keys(), _MOST_ROWS, tables if listed else None)
            start = time.thread_time()
            decided = check(statement, scope)
            taken.append((time.thread_time() - start) * 1000)
            if not isinstance(decided, Approved):
                raise RuntimeError(f"refused: {statement}")
    return taken


def main() -> int:
    """Measure and print; 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description="What the SQL guard costs.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with analytics() as connection:
        known = {dialect: columns(connection, schema) for dialect, schema in _SCHEMAS.items()}
    measure(known, 1, listed=True)  # what is read once is read
    report = {}
    for name, listed in (("tables", False), ("tables and columns", True)):
        taken = measure(known, arguments.rounds, listed=listed)
        parts = statistics.quantiles(taken, n=100)
        report[name] = {"p50_ms": parts[49], "p95_ms": parts[94], "p99_ms": parts[98]}
    if arguments.json:
        sys.stdout.write(f"{json.dumps(report)}\n")
    else:
        sys.stdout.write(f"{len(all_analytic())} statements, {arguments.rounds} rounds\n")
        for name, figures in report.items():
            shown = "  ".join(f"{key.replace('_', ' ')} {ms:.2f}" for key, ms in figures.items())
            sys.stdout.write(f"{name:20} {shown}\n")
    missed = [name for name, figures in report.items() if figures["p95_ms"] >= _GOAL_MS]
    if missed:
        sys.stderr.write(f"goal missed: p95 is not under {_GOAL_MS:g} ms ({', '.join(missed)})\n")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
