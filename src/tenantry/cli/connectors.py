"""`tenantry connector`: a tenant's own databases, files, APIs and MCP servers."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import orjson

from tenantry.cli.client import Client, from_environment
from tenantry.cli.output import json_option, print_json, show, show_rows

_TOOLS = ("tools", "acceptance", "protocol", "left_out")
_DOCUMENT = ("document", "document_sha256", "left_out")
_SHOWN = ("name", "kind", "credential_version", "created_at", "id")


@click.group()
def connector() -> None:
    """Add, try out, describe and query the data sources of the tenant of TENANTRY_API_KEY."""


def _settings(command: Any) -> Any:
    """The options by which a source is described."""
    for option in (
        click.option("-o", "--option", "pairs", multiple=True, metavar="NAME=VALUE",
                     help="An option of the kind; VALUE is JSON, or a text."),
        click.option("--options", "file", type=click.Path(exists=True, path_type=Path),
                     help="A JSON file of options; -o goes before it."),
        click.option("--secret", "prompted", multiple=True, metavar="NAME",
                     help="A secret, asked for at the terminal."),
        click.option("--secret-env", "variables", multiple=True, metavar="NAME[=VARIABLE]",
                     help="A secret, read from an environment variable."),
    ):  # fmt: skip
        command = option(command)
    return command


@connector.command("add")
@click.argument("name")
@click.argument("kind")
@_settings
@json_option
def add(  # noqa: PLR0913  # each is an option of the command
    name: str,
    kind: str,
    pairs: tuple[str, ...],
    file: Path | None,
    prompted: tuple[str, ...],
    variables: tuple[str, ...],
    as_json: bool,
) -> None:
    """Add a source of a KIND (files, postgres, mysql, http, mcp); it is reached once first.

    \b
    tenantry connector add shop postgres -o host=db.example.com -o database=shop \\
        -o user=analyst --secret password
    """  # noqa: D301  # \b is click's: keep the lines
    body = {
        "name": name,
        "kind": kind,
        "options": _options(pairs, file),
        "secrets": _secrets(prompted, variables),
    }
    _show_added(Client.from_environment().post("/v1/connectors", body), as_json)


@connector.command("change")
@click.argument("name")
@_settings
@json_option
def change(  # each is an option of the command
    name: str,
    pairs: tuple[str, ...],
    file: Path | None,
    prompted: tuple[str, ...],
    variables: tuple[str, ...],
    as_json: bool,
) -> None:
    """Give a source other options, other secrets (a rotation), or both; what is left out stays.

    Options are replaced by those given, together; secrets likewise.
    """
    client = Client.from_environment()
    body: dict[str, Any] = {}
    if pairs or file:
        body["options"] = _options(pairs, file)
    if prompted or variables:
        body["secrets"] = _secrets(prompted, variables)
    if not body:
        raise click.UsageError("Say what to change: options, secrets, or both.")
    _show_added(client.patch(f"/v1/connectors/{find(client, name)}", body), as_json)


@connector.command("list")
@json_option
def list_all(as_json: bool) -> None:
    """List the sources."""
    show_rows(list(Client.from_environment().every("/v1/connectors")), as_json, _SHOWN)


@connector.command("test")
@click.argument("name")
@json_option
def test(name: str, as_json: bool) -> None:
    """Reach a source once; a failure says what and why."""
    client = Client.from_environment()
    show(client.post(f"/v1/connectors/{find(client, name)}/test"), as_json)


@connector.command("schema")
@click.argument("name")
@click.option("--refresh", is_flag=True, help="Look again, whatever is remembered.")
@json_option
def schema(name: str, refresh: bool, as_json: bool) -> None:
    """Describe what a source offers: tables with their columns, or operations."""
    client = Client.from_environment()
    query = {"refresh": "true"} if refresh else {}
    found = client.get(f"/v1/connectors/{find(client, name)}/schema", **query)
    if as_json:
        print_json(found)
        return
    _show_schema(found)


def _show_schema(found: dict[str, Any]) -> None:
    columns = [
        {"table": table["name"], "column": column["name"], "type": column["type"],
         "description": column["description"][:80]}
        for table in found["tables"] for column in table["columns"]
    ]  # fmt: skip
    operations = [
        {"operation": each["name"],
         "effect": "suspended" if each["suspended"] else each["effect"],
         "description": each["description"]}
        for each in found["operations"]
    ]  # fmt: skip
    show_rows(columns or operations, False)


@connector.command("query")
@click.argument("name")
@click.argument("sql")
@click.option("--max-rows", default=100, type=click.IntRange(1, 10_000), show_default=True)
@click.option("--output", type=click.Path(dir_okay=False, writable=True, path_type=Path),
              help="Write every row, at most 100,000, to this CSV file.")  # fmt: skip
@json_option
def query(name: str, sql: str, max_rows: int, output: Path | None, as_json: bool) -> None:
    """Run one read-only SQL statement over a source's tables."""
    client = Client.from_environment()
    body = {"sql": sql, "max_rows": max_rows, "to_file": output is not None}
    found = client.post(f"/v1/connectors/{find(client, name)}/query", body)
    if output is not None:
        output.write_bytes(client.download(f"/v1/results/{found['file']['id']}/content.csv"))
    if as_json:
        print_json(found)
        return
    if output is None:
        show_rows([dict(zip(found["columns"], row, strict=True)) for row in found["rows"]], False)
    cut = ", cut at a ceiling" if found["truncated"] else ""
    click.echo(f"{found['row_count']} rows{cut} in {found['duration_ms']} ms: {found['sql']}")


@connector.command("call")
@click.argument("name")
@click.argument("operation")
@click.option("-a", "--argument", "pairs", multiple=True, metavar="NAME=VALUE",
              help="An argument; VALUE is JSON, or a text.")  # fmt: skip
@click.option("--arguments", "file", type=click.Path(exists=True, path_type=Path),
              help="A JSON file of arguments; -a goes before it.")  # fmt: skip
@json_option
def call(
    name: str, operation: str, pairs: tuple[str, ...], file: Path | None, as_json: bool
) -> None:
    """Make one call that a source of an API or an MCP server offers."""
    client = Client.from_environment()
    body = {"operation": operation, "arguments": _options(pairs, file, "-a")}
    answer = client.post(f"/v1/connectors/{find(client, name)}/call", body)["answer"]
    if as_json:
        print_json(answer)
    else:
        click.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())


@connector.command("accept")
@click.argument("name")
@json_option
def accept(name: str, as_json: bool) -> None:
    """Accept anew what a source says of its operations; those suspended are used again.

    What it says is fetched now and shown: read it, a model will.
    """
    client = Client.from_environment()
    path = f"/v1/connectors/{find(client, name)}"
    stored = client.get(path)
    options = stored["options"]
    fetched = {"mcp": _TOOLS, "http": _DOCUMENT}.get(stored["kind"], ())
    if not fetched or (fetched == _DOCUMENT and "document_url" not in options):
        raise click.ClickException(f"The connector {name} has nothing that was fetched.")
    kept = {option: value for option, value in options.items() if option not in fetched}
    changed = client.patch(path, {"options": kept})
    _show_added(changed, as_json)
    if not as_json:
        _show_schema(client.get(f"{path}/schema"))


@connector.command("remove")
@click.argument("name")
@click.confirmation_option(prompt="Remove it with its tables, secrets and verified queries?")
def remove(name: str) -> None:
    """Remove a source with its tables, secrets and verified queries."""
    client = Client.from_environment()
    client.delete(f"/v1/connectors/{find(client, name)}")


def find(client: Client, name: str) -> str:
    """The id of the source of this name.

    Raises:
        click.ClickException: there is none.
    """
    for each in client.every("/v1/connectors"):
        if each["name"] == name:
            return str(each["id"])
    raise click.ClickException(f"There is no connector {name}.")


def _options(pairs: Iterable[str], file: Path | None, flag: str = "-o") -> dict[str, Any]:
    try:
        options: Any = orjson.loads(file.read_bytes()) if file else {}
    except orjson.JSONDecodeError as error:
        raise click.UsageError(f"{file} is not JSON: {error}") from error
    if not isinstance(options, dict):
        raise click.UsageError(f"{file} holds no JSON object.")
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise click.UsageError(f"{flag} {pair}: write NAME=VALUE.")
        try:
            options[name] = orjson.loads(text)
        except orjson.JSONDecodeError:
            options[name] = text
    return options


def _secrets(prompted: Iterable[str], variables: Iterable[str]) -> dict[str, str]:
    # Never an argument: those are seen by every process of the machine.
    found = {name: click.prompt(name, hide_input=True) for name in prompted}
    for pair in variables:
        name, _, variable = pair.partition("=")
        found[name] = from_environment(variable or name)
    return found


def _show_added(added: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(added)
        return
    show({name: added[name] for name in _SHOWN}, False)
    for warning in added["warnings"]:
        click.echo(f"Warning: {warning}", err=True)
