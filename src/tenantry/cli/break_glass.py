"""`tenantry break-glass`: read one tenant's content for a stated reason, on record."""

import click

from tenantry.cli.client import Client
from tenantry.cli.output import json_option, show, show_rows

_OPERATOR = "TENANTRY_OPERATOR_KEY"


@click.group("break-glass")
def break_glass() -> None:
    """Read one tenant for a while; it finds opening and reading in its own audit log.

    Needs TENANTRY_OPERATOR_KEY with the scope `break-glass`.
    """


@break_glass.command("open")
@click.argument("tenant")
@click.option("--reason", required=True, help="10 to 500 characters; the tenant sees it.")
@click.option("--minutes", default=15, type=click.IntRange(1, 60), show_default=True)
@json_option
def open_grant(tenant: str, reason: str, minutes: int, as_json: bool) -> None:
    """Open a grant; its token is printed once."""
    body = {"reason": reason, "minutes": minutes}
    show(
        Client.from_environment(_OPERATOR).post(f"/v1/tenants/{tenant}/break-glass", body), as_json
    )


@break_glass.command("list")
@click.option("--ended", is_flag=True, help="Also those that are over.")
@json_option
def list_grants(ended: bool, as_json: bool) -> None:
    """List open grants."""
    query = {"ended": "true"} if ended else {}
    rows = Client.from_environment(_OPERATOR).get("/v1/operator/break-glass", **query)["data"]
    show_rows(rows, as_json)


@break_glass.command("read")
@click.argument("table")
@click.option("--limit", default=100, type=click.IntRange(1, 1000), show_default=True)
@click.option("--skip", default=0, type=click.IntRange(0), show_default=True)
@click.password_option("--token", confirmation_prompt=False, help="The grant's; asked for.")
@json_option
def read(table: str, limit: int, skip: int, token: str, as_json: bool) -> None:
    """Read rows of a table, such as messages or documents."""
    body = {"token": token, "table": table, "limit": limit, "skip": skip}
    found = Client.from_environment(_OPERATOR).post("/v1/operator/break-glass/rows", body)
    show_rows(found["data"], as_json)


@break_glass.command("close")
@click.argument("grant_id")
def close(grant_id: str) -> None:
    """End a grant now."""
    Client.from_environment(_OPERATOR).delete(f"/v1/operator/break-glass/{grant_id}")
    click.echo("Closed.")
