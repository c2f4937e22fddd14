"""The isolation matrix: who can do what to whose, written down by doing it.

    python -m tests.isolation.matrix    # writes matrix.txt anew; review its difference

A test compares it with what is true (`test_matrix.py`); another fails when a table, route or tool
is not in it.
"""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.conftest import deployment
from tests.isolation import matrix_routes, matrix_tables, matrix_tools
from tests.isolation.arena import build
from tests.isolation.served import estate
from tests.worlds import Cluster

GOLDEN = Path(__file__).with_name("matrix.txt")
ROUTES, TABLES, TOOLS = "ROUTES", "TABLES", "TOOLS"
_LEGEND = """\
# The isolation matrix: found out by doing it, written by `python -m tests.isolation.matrix`.
# own = the actor's own tenant, nbr = the neighbour's. yes = done. no = refused.
# hidden = as if it were not there, the same as for what never was. - = there is no such thing.
"""
Rows = Mapping[str, tuple[str, ...]]


def section(title: str, head: Iterable[str], rows: Rows) -> str:
    """A table of the matrix as text."""
    lines = [("", *head), *((name, *cells) for name, cells in sorted(rows.items()))]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([f"[{title}]", *text, ""])


def golden_sections() -> dict[str, str]:
    """The sections of the golden file, by title."""
    found = {}
    for part in GOLDEN.read_text().split("\n[")[1:]:
        title = part.partition("]")[0]
        found[title] = f"[{part}".rstrip("\n") + "\n"
    return found


def rows_of(text: str) -> set[str]:
    """Names of the rows of a section: its first column."""
    return {line.partition("  ")[0] for line in text.splitlines()[2:] if line.strip()}


def missing(text: str, names: Iterable[str]) -> list[str]:
    """Which of the names have no row in a section."""
    return sorted(set(names) - rows_of(text))


async def derive(cluster: Cluster, data_dir: Path) -> dict[str, str]:
    """Every section, found out anew."""
    async with estate(cluster, data_dir) as served:
        routes = section(ROUTES, matrix_routes.HEAD, await matrix_routes.route_rows(served))
        tools = section(TOOLS, matrix_tools.HEAD, await matrix_tools.tool_rows(served))
    database = cluster.create_database()
    try:
        found = await matrix_tables.table_rows(build(cluster, database))
        tables = section(TABLES, matrix_tables.HEAD, found)
    finally:
        cluster.drop_database(database)
    return {ROUTES: routes, TABLES: tables, TOOLS: tools}


def main() -> None:
    """Write the golden file."""
    with deployment() as run, Cluster(run) as cluster:
        found = asyncio.run(derive(cluster, run / "data"))
        GOLDEN.write_text("\n".join([_LEGEND, *found.values()]))


if __name__ == "__main__":
    main()
