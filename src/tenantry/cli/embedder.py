"""`tenantry embedder`: what a tenant is embedded with, and its change."""

from typing import Any
from urllib.parse import quote

import click

from tenantry.cli.client import Client
from tenantry.cli.output import json_option, print_json

_PATH = "/v1/embedder"
_tenant = click.option("--tenant", "tenant_name", help="This tenant's (operator's key).")


@click.group()
def embedder() -> None:
    """What documents and questions are embedded with.

    For the tenant whose key is TENANTRY_API_KEY; with --tenant, the operator for one.
    """


@embedder.command("show")
@_tenant
@json_option
def show(tenant_name: str | None, as_json: bool) -> None:
    """Show what is in force, and how far a change has come."""
    client, path = _place(tenant_name)
    _show(client.get(path), as_json)


@embedder.command("set")
@click.argument("model")
@click.option("--dimension", type=int, help="Of the vectors; as the model makes them if not given.")
@click.option("--query-prefix", default="", help="Put before questions.")
@click.option("--passage-prefix", default="", help="Put before passages.")
@_tenant
@json_option
def choose(
    model: str,
    dimension: int | None,
    query_prefix: str,
    passage_prefix: str,
    tenant_name: str | None,
    as_json: bool,
) -> None:
    """Embed by MODEL: default, embedded, or ACCOUNT/MODEL. Searches go on meanwhile."""
    client, path = _place(tenant_name)
    body = {
        "model": model,
        "dimension": dimension,
        "query_prefix": query_prefix,
        "passage_prefix": passage_prefix,
    }
    _show(client.put(path, body), as_json)


@embedder.command("cancel")
def cancel() -> None:
    """Give up the change that is under way; what is in force stays."""
    Client.from_environment().delete(f"{_PATH}/change")


def _place(tenant_name: str | None) -> tuple[Client, str]:
    if tenant_name is None:
        return Client.from_environment(), _PATH
    client = Client.from_environment("TENANTRY_OPERATOR_KEY")
    return client, f"/v1/tenants/{quote(tenant_name, safe='')}/embedder"


def _show(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    chosen = "the deployment's" if found["is_default"] else "chosen"
    click.echo(f"{found['model']}, {found['dimension']} components ({chosen})")
    if change := found["change"]:
        far = f"{change['passages_done']} of {change['passages']} passages"
        click.echo(f"changing to {change['model']}: {change['state']}, {far}")
        if change["error"]:
            click.echo(change["error"])
