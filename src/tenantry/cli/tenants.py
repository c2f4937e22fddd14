"""`tenantry tenant | token | member | key`: who may use the platform."""

import click

from tenantry.cli.client import Client
from tenantry.cli.output import json_option, show, show_rows

_OPERATOR = "TENANTRY_OPERATOR_KEY"


@click.group()
def tenant() -> None:
    """Create, list, suspend and weigh tenants. Needs TENANTRY_OPERATOR_KEY."""


@tenant.command("create")
@click.argument("name")
@click.option("--owner", default="owner", show_default=True, help="The first owner's external id.")
@json_option
def create_tenant(name: str, owner: str, as_json: bool) -> None:
    """Create a tenant with its first owner; prints the owner's key, once."""
    client = Client.from_environment(_OPERATOR)
    body = {"name": name, "owner": {"external_id": owner}}
    created = client.post("/v1/tenants", body)
    if as_json:
        show(created, as_json)
        return
    show(
        {**created["tenant"], "owner": created["owner"]["id"], "api_key": created["api_key"]}, False
    )
    click.echo("Keep the key: it is not shown again.", err=True)


@tenant.command("list")
@json_option
def list_tenants(as_json: bool) -> None:
    """List every tenant."""
    show_rows(list(Client.from_environment(_OPERATOR).every("/v1/tenants")), as_json)


@tenant.command("suspend")
@click.argument("name")
@json_option
def suspend(name: str, as_json: bool) -> None:
    """Stop a tenant's keys and tokens at once; nothing is deleted."""
    client = Client.from_environment(_OPERATOR)
    show(client.patch(f"/v1/tenants/{name}", {"status": "suspended"}), as_json)


@tenant.command("resume")
@click.argument("name")
@json_option
def resume(name: str, as_json: bool) -> None:
    """Let a suspended tenant in again."""
    client = Client.from_environment(_OPERATOR)
    show(client.patch(f"/v1/tenants/{name}", {"status": "active"}), as_json)


@tenant.command("weight")
@click.argument("name")
@click.argument("weight", type=click.FloatRange(0.01, 100))
@json_option
def weigh(name: str, weight: float, as_json: bool) -> None:
    """Give a tenant twice the share of turns, before models and workers, by a weight of 2."""
    client = Client.from_environment(_OPERATOR)
    show(client.patch(f"/v1/tenants/{name}", {"weight": weight}), as_json)


@click.command()
@click.argument("tenant_name")
@click.argument("external_id")
@click.option("--role", default="viewer", type=click.Choice(["admin", "analyst", "viewer"]))
@click.option("--minutes", default=15, type=click.IntRange(1, 60), show_default=True)
@json_option
def token(tenant_name: str, external_id: str, role: str, minutes: int, as_json: bool) -> None:
    """Mint a short-lived token for a member, as a SaaS backend does at sign-in."""
    body = {
        "tenant": tenant_name,
        "external_id": external_id,
        "role": role,
        "lifetime_s": minutes * 60,
    }
    minted = Client.from_environment(_OPERATOR).post("/v1/tokens", body)
    if as_json:
        show(minted, as_json)
    else:
        click.echo(minted["token"])


@click.group()
def member() -> None:
    """Add and list members of the tenant whose key is TENANTRY_API_KEY."""


@member.command("add")
@click.argument("external_id")
@click.option(
    "--role", default="viewer", type=click.Choice(["owner", "admin", "analyst", "viewer"])
)
@json_option
def add_member(external_id: str, role: str, as_json: bool) -> None:
    """Add a member."""
    body = {"external_id": external_id, "role": role}
    show(Client.from_environment().post("/v1/members", body), as_json)


@member.command("list")
@json_option
def list_members(as_json: bool) -> None:
    """List members."""
    rows = list(Client.from_environment().every("/v1/members"))
    show_rows(rows, as_json, ("id", "external_id", "role", "status", "created_at"))


@click.group()
def key() -> None:
    """Issue, rotate and revoke keys of the tenant whose key is TENANTRY_API_KEY."""


@key.command("create")
@click.argument("name")
@click.option("--member", "member_id", help="Member id; yourself unless given.")
@click.option("--scope", "scopes", multiple=True, help="May be repeated; all of the role's if not.")
@click.option(
    "--days", type=click.IntRange(1, 1830), help="Days until it ends; never if not given."
)
@json_option
def create_key(
    name: str, member_id: str | None, scopes: tuple[str, ...], days: int | None, as_json: bool
) -> None:
    """Issue a key; it is printed once."""
    body = {
        "name": name,
        "member_id": member_id,
        "scopes": list(scopes) or None,
        "expires_in_s": days * 86400 if days else None,
    }
    show(Client.from_environment().post("/v1/keys", body), as_json)


@key.command("list")
@json_option
def list_keys(as_json: bool) -> None:
    """List keys, without their secrets."""
    rows = list(Client.from_environment().every("/v1/keys"))
    columns = ("id", "name", "public_id", "scopes", "expires_at", "revoked_at", "last_used_at")
    show_rows(rows, as_json, columns)


@key.command("rotate")
@click.argument("key_id")
@click.option("--overlap-hours", default=0, type=click.IntRange(0, 168), show_default=True)
@json_option
def rotate_key(key_id: str, overlap_hours: int, as_json: bool) -> None:
    """Issue a successor; the old key ends after the overlap."""
    body = {"overlap_s": overlap_hours * 3600}
    show(Client.from_environment().post(f"/v1/keys/{key_id}/rotate", body), as_json)


@key.command("revoke")
@click.argument("key_id")
def revoke_key(key_id: str) -> None:
    """End a key now."""
    Client.from_environment().delete(f"/v1/keys/{key_id}")
    click.echo("Revoked.")
