"""`tenantry erase`: takes what was deleted out of the database's files."""

import sys
from dataclasses import asdict

import click

from tenantry.cli.local import with_platform
from tenantry.cli.output import json_option, show_rows
from tenantry.security.erasure import carry_out


@click.command()
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0.1, 600),
    default=5,
    show_default=True,
    help="Seconds to wait for a table that is in use; everybody else waits behind us.",
)
@json_option
def erase(wait_s: float, as_json: bool) -> None:
    """Write tables anew, so that their files hold nothing of what was deleted.

    Each table with text of documents or conversations is locked while it is written, and needs its
    size again on the disk. With TENANTRY_DATABASE_URL, its user must be an administrator. Exit
    status 1 if a table was busy, or an open transaction held removed rows back: run it again.
    Write-ahead log, backups and replicas keep what they have.
    """
    done = with_platform(
        lambda platform: carry_out(platform.audit, platform.store.admin_url, wait_s)
    )
    show_rows([asdict(each) for each in done], as_json)
    if any(each.outcome != "erased" for each in done):
        sys.exit(1)
