"""`tenantry group | document`: who may read which documents of a tenant."""

from collections.abc import Iterable
from typing import Any

import click

from tenantry.cli.client import Client
from tenantry.cli.output import json_option, show, show_rows


@click.group()
def group() -> None:
    """Keep groups of the members of the tenant of TENANTRY_API_KEY; for its owners and admins."""


@group.command("create")
@click.argument("name")
@json_option
def create_group(name: str, as_json: bool) -> None:
    """Add a group."""
    show(Client.from_environment().post("/v1/groups", {"name": name}), as_json)


@group.command("list")
@json_option
def list_groups(as_json: bool) -> None:
    """List groups."""
    show_rows(list(Client.from_environment().every("/v1/groups")), as_json)


@group.command("delete")
@click.argument("name")
def delete_group(name: str) -> None:
    """Remove a group to which no document is restricted."""
    client = Client.from_environment()
    client.delete(f"/v1/groups/{_group(client, name)}")
    click.echo("Removed.")


@group.command("members")
@click.argument("name")
@json_option
def list_group_members(name: str, as_json: bool) -> None:
    """List who is in a group."""
    client = Client.from_environment()
    rows = list(client.every(f"/v1/groups/{_group(client, name)}/members"))
    show_rows(rows, as_json, () if as_json else ("id", "external_id", "role", "added_at"))


@group.command("add")
@click.argument("name")
@click.argument("external_id")
def add_to_group(name: str, external_id: str) -> None:
    """Put a member into a group."""
    client = Client.from_environment()
    client.put(f"/v1/groups/{_group(client, name)}/members/{_member(client, external_id)}", {})
    click.echo(f"{external_id} is in {name}.")


@group.command("remove")
@click.argument("name")
@click.argument("external_id")
def remove_from_group(name: str, external_id: str) -> None:
    """Take a member out of a group."""
    client = Client.from_environment()
    client.delete(f"/v1/groups/{_group(client, name)}/members/{_member(client, external_id)}")
    click.echo(f"{external_id} is no longer in {name}.")


@click.group()
def document() -> None:
    """Look after the documents of the tenant of TENANTRY_API_KEY."""


@document.command("list")
@json_option
def list_documents(as_json: bool) -> None:
    """List the documents that you may read; owners and admins see every one, and for whom it is."""
    rows = list(Client.from_environment().every("/v1/documents"))
    shown = rows if as_json else [{**row, "for": _readers(row)} for row in rows]
    show_rows(shown, as_json, () if as_json else ("id", "title", "for", "chunk_count"))


@document.command("access")
@click.argument("document_id")
@click.option("--group", "groups", multiple=True, help="Members of it may read; may be repeated.")
@click.option("--everybody", is_flag=True, help="Every member may read it.")
@json_option
def restrict_document(
    document_id: str, groups: tuple[str, ...], everybody: bool, as_json: bool
) -> None:
    """Say who may read a document: the members of some groups, or everybody."""
    if bool(groups) is everybody:
        raise click.UsageError("Name the groups that may read it, or say --everybody.")
    body = {"groups": list(groups)}
    path = f"/v1/documents/{document_id}/access"
    show(Client.from_environment().put(path, body), as_json)


@document.command("delete")
@click.argument("document_id")
def delete_document(document_id: str) -> None:
    """Remove a document: passages, vectors, and the job that is adding it."""
    Client.from_environment().delete(f"/v1/documents/{document_id}")
    click.echo("Removed.")


def _readers(row: dict[str, Any]) -> str:
    return ", ".join(row["groups"]) if row["is_restricted"] else "everybody"


def _group(client: Client, name: str) -> str:
    return _found(client.every("/v1/groups"), "name", name, "group")


def _member(client: Client, external_id: str) -> str:
    return _found(client.every("/v1/members"), "external_id", external_id, "member")


def _found(rows: Iterable[dict[str, Any]], field: str, value: str, kind: str) -> str:
    for row in rows:
        if row[field] == value:
            return str(row["id"])
    raise click.ClickException(f"There is no {kind} {value}.")
