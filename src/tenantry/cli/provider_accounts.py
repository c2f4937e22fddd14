"""`tenantry provider-account`: a tenant's own accounts at model providers."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import orjson

from tenantry.cli.client import Client, from_environment
from tenantry.cli.output import json_option, print_json, show, show_rows

_PATH = "/v1/provider-accounts"
_SHOWN = ("name", "kind", "base_url", "models", "credential_version", "removed_at", "id")
_KEY_ENV = click.option(
    "--key-env",
    "variable",
    metavar="VARIABLE",
    help="Read the key from this environment variable; it is asked for at the terminal otherwise.",
)


@click.group("provider-account")
def provider_account() -> None:
    """Add, try out, rotate and remove own model accounts of the tenant of TENANTRY_API_KEY."""


def _described(command: Any) -> Any:
    """The options by which an account is described."""
    for option in (
        click.option("--model", "chat", multiple=True, metavar="NAME[=UPSTREAM]",
                     help="A model that answers; UPSTREAM is the provider's own name of it."),
        click.option("--embedding-model", "embedding", multiple=True, metavar="NAME[=UPSTREAM]",
                     help="A model that only embeds."),
        click.option("--max-output-tokens", "most", type=click.IntRange(1, 10_000_000),
                     help="The most a model may produce in one call; 4096 unless given."),
        click.option("--models", "file", type=click.Path(exists=True, path_type=Path),
                     help="A JSON file with the list of models, in place of the options above."),
        click.option("--base-url", help="The provider's own unless given."),
        click.option("--max-tokens-field", "field",
                     type=click.Choice(["max_completion_tokens", "max_tokens"]),
                     help="What an OpenAI-compatible server calls the output bound."),
    ):  # fmt: skip
        command = option(command)
    return command


@provider_account.command("add")
@click.argument("name")
@click.argument("kind", type=click.Choice(["openai_compatible", "anthropic", "google"]))
@_described
@_KEY_ENV
@json_option
def add(name: str, kind: str, variable: str | None, as_json: bool, **described: Any) -> None:
    """Add an account; its provider is asked once first. Its models are named NAME/MODEL.

    \b
    tenantry provider-account add ours anthropic --model claude-sonnet-4-5
    """  # noqa: D301  # \b is click's: keep the lines
    body = {"name": name, "kind": kind, "key": _key(variable), **_description(described)}
    if "models" not in body:
        raise click.UsageError("Name at least one model with --model or --models.")
    _show_kept(Client.from_environment().post(_PATH, body), as_json)


@provider_account.command("change")
@click.argument("name")
@_described
@json_option
def change(name: str, as_json: bool, **described: Any) -> None:
    """Give an account other models or another base URL; what is left out stays.

    Models are replaced by those given, together. Another destination needs its key: add anew.
    """
    body = _description(described)
    if not body:
        raise click.UsageError("Say what to change.")
    client = Client.from_environment()
    _show_kept(client.patch(f"{_PATH}/{_find(client, name)}", body), as_json)


@provider_account.command("list")
@json_option
def list_all(as_json: bool) -> None:
    """List the accounts; removed ones whose names are still held have a time of removal."""
    found = list(_all(Client.from_environment()))
    rows = found if as_json else [_row(each) for each in found]
    show_rows(rows, as_json, _SHOWN)


@provider_account.command("test")
@click.argument("name")
@json_option
def test(name: str, as_json: bool) -> None:
    """Ask the provider once with the stored key; a failure says what and why."""
    client = Client.from_environment()
    show(client.post(f"{_PATH}/{_find(client, name)}/test"), as_json)


@provider_account.command("rotate")
@click.argument("name")
@_KEY_ENV
@json_option
def rotate(name: str, variable: str | None, as_json: bool) -> None:
    """Give an account another key; calls under way end with the earlier one."""
    client = Client.from_environment()
    account = _find(client, name)
    _show_kept(client.patch(f"{_PATH}/{account}", {"key": _key(variable)}), as_json)


@provider_account.command("remove")
@click.argument("name")
@click.option("--release-name", is_flag=True,
              help="Let the name lead to the platform's account of that name again.")  # fmt: skip
@click.confirmation_option(prompt="Remove it with its key?")
def remove(name: str, release_name: bool) -> None:
    """Forget an account's key. What names it fails until the name is used anew or released."""
    client = Client.from_environment()
    query = "?release=true" if release_name else ""
    client.delete(f"{_PATH}/{_find(client, name)}{query}")


def _find(client: Client, name: str) -> str:
    for each in _all(client):
        if each["name"] == name:
            return str(each["id"])
    raise click.ClickException(f"There is no account {name}.")


def _all(client: Client) -> Iterable[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(_PATH, limit=500)["data"]  # a tenant has at most 50
    return found


def _description(given: dict[str, Any]) -> dict[str, Any]:
    named = {"base_url": given["base_url"], "max_tokens_field": given["field"]}
    body = {name: value for name, value in named.items() if value is not None}
    models = [
        _model(text, kind, given["most"]) for kind in ("chat", "embedding") for text in given[kind]
    ]
    if given["file"] is not None:
        try:
            models = orjson.loads(given["file"].read_bytes())
        except orjson.JSONDecodeError as error:
            raise click.UsageError(f"{given['file']} is not JSON: {error}") from error
    return body | ({"models": models} if models else {})


def _model(text: str, kind: str, most: int | None) -> dict[str, Any]:
    name, _, upstream = text.partition("=")
    bound = {} if most is None else {"max_output_tokens": most}
    return {"name": name, "upstream": upstream, "kind": kind, **bound}


def _key(variable: str | None) -> str:
    # Never an argument: those are seen by every process of the machine.
    if variable is not None:
        return from_environment(variable)
    return str(click.prompt("key", hide_input=True))


def _row(account: dict[str, Any]) -> dict[str, Any]:
    return {**account, "models": [model["name"] for model in account["models"]]}


def _show_kept(kept: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(kept)
        return
    row = _row(kept)
    show({name: row[name] for name in _SHOWN}, False)
    for warning in kept["warnings"]:
        click.echo(f"Warning: {warning}", err=True)
