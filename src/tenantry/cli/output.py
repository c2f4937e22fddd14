"""Tables where people read, JSON where programs do."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
import orjson
from tabulate import tabulate

from tenantry.metering.export import usd as exact_usd

json_option: Callable[..., Any] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, for programs."
)


def show(document: Mapping[str, Any] | Sequence[Any], as_json: bool) -> None:
    """Print one document: as JSON, or as a table of names and values."""
    if as_json:
        print_json(document)
    elif isinstance(document, Mapping):
        click.echo(tabulate([(k, _cell(v)) for k, v in document.items()], tablefmt="plain"))
    else:
        show_rows(document, as_json=False)


def show_rows(rows: Sequence[Any], as_json: bool, columns: Sequence[str] = ()) -> None:
    """Print a list: as JSON, or as a table of the chosen columns."""
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo("(nothing)")
        return
    names = list(columns) or list(rows[0])
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    click.echo(tabulate(cells, headers=names, tablefmt="simple", disable_numparse=True))


def print_json(document: Any) -> None:
    """Print a document as indented JSON."""
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def usd(picousd: int) -> str:
    """Money for people, exact: pico-dollars as dollars."""
    return f"${exact_usd(picousd)}"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return " ".join(str(item) for item in value)
    # Control characters of a tenant's own text must not drive the operator's terminal.
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))
