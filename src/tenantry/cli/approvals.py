"""`tenantry approval`: calls that change something and wait for a member."""

import click
import orjson

from tenantry.cli.client import Client
from tenantry.cli.output import json_option, print_json, show, show_rows

_SHOWN = ("id", "operation", "arguments", "expires_at")


@click.group()
def approval() -> None:
    """List, approve and refuse calls that wait for the member of TENANTRY_API_KEY."""


@approval.command("list")
@json_option
def list_all(as_json: bool) -> None:
    """List the calls that wait; each does so for five minutes."""
    found = Client.from_environment().get("/v1/approvals", limit=100)["data"]
    if not as_json:
        found = [{**row, "arguments": orjson.dumps(row["arguments"]).decode()} for row in found]
    show_rows(found, as_json, _SHOWN)


@approval.command("approve")
@click.argument("approval_id")
@json_option
def approve(approval_id: str, as_json: bool) -> None:
    """Make a call exactly as it is listed, once; its answer is shown."""
    done = Client.from_environment().post(f"/v1/approvals/{approval_id}/approve")
    if as_json:
        print_json(done)
    else:
        click.echo(orjson.dumps(done["answer"], option=orjson.OPT_INDENT_2).decode())


@approval.command("refuse")
@click.argument("approval_id")
@json_option
def refuse(approval_id: str, as_json: bool) -> None:
    """Refuse a call; it is never made."""
    done = Client.from_environment().post(f"/v1/approvals/{approval_id}/refuse")
    show({name: done[name] for name in ("id", "operation", "state")}, as_json)
