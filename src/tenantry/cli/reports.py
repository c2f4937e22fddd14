"""`tenantry usage | audit | pools`: what was used, what it cost, and what was refused."""

import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from tenantry.cli.client import Client
from tenantry.cli.output import json_option, print_json, show, show_rows, usd

_OPERATOR = "TENANTRY_OPERATOR_KEY"
_UNCLEAR = {"unknown", "ambiguous", "unsure", "missing"}
_COLUMNS = (
    "key", "operation", "payer", "calls", "input_tokens", "output_tokens", "cost", "unconfirmed",
)  # fmt: skip


@click.group(invoke_without_command=True)
@click.option(
    "--by",
    default="model",
    type=click.Choice(["day", "model", "account", "tool", "connector", "assistant", "member"]),
)
@click.option("--since", help="Moment with a time zone, such as 2026-11-01T00:00:00Z.")
@click.option("--until", help="Likewise; not included.")
@json_option
@click.pass_context
def usage(
    context: click.Context, by: str, since: str | None, until: str | None, as_json: bool
) -> None:
    """Show what the tenant of TENANTRY_API_KEY used, and what it cost."""
    if context.invoked_subcommand is not None:
        return
    report = Client.from_environment().get("/v1/usage", **_query(since, until), by=by)
    if as_json:
        print_json(report)
        return
    totals = report["totals"]
    show_rows([_line(line) for line in report["lines"]], False, _COLUMNS)
    own = totals["tenant_paid_calls"]
    click.echo(
        f"total {usd(totals['cost_picousd'])} for {totals['calls']} calls, of which "
        f"{usd(totals['unconfirmed_picousd'])} by our own count; "
        f"reserved now {usd(report['reserved']['cost_picousd'])}"
        + (f"; {own} calls were paid by the tenant itself" if own else "")
    )


@usage.command("tenants")
@click.option("--since", help="Moment with a time zone.")
@click.option("--until", help="Likewise; not included.")
@json_option
def usage_tenants(since: str | None, until: str | None, as_json: bool) -> None:
    """Show totals by tenant. Needs TENANTRY_OPERATOR_KEY."""
    client = Client.from_environment(_OPERATOR)
    report = client.get("/v1/operator/usage", **_query(since, until))
    if as_json:
        print_json(report)
        return
    show_rows([{**row, "cost": usd(row["cost_picousd"])} for row in report["data"]], False,
              ("tenant_id", "calls", "input_tokens", "output_tokens", "cost"))  # fmt: skip


@usage.command("reconcile")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--complete", is_flag=True, help="It has all that an account was billed for.")
@click.option("--account", help="With --complete: the platform's account that it is of.")
@click.option("--since", help="With --complete: where its period begins, with a time zone.")
@click.option("--until", help="With --complete: where it ends; not included.")
@json_option
def usage_reconcile(
    file: Path,
    complete: bool,
    account: str | None,
    since: str | None,
    until: str | None,
    as_json: bool,
) -> None:
    """Bring the ledger to a provider's own export (CSV). Needs TENANTRY_OPERATOR_KEY.

    Columns: call_id or upstream_id, input_tokens, output_tokens, and cached_tokens if known.
    With --complete, calls of ours that are not in it and rest on our own count become nothing.
    """
    given = {"complete_for": account, "since": since, "until": until}
    if complete != all(given.values()) or complete != any(given.values()):
        raise click.UsageError("--complete goes with --account, --since and --until, all three.")
    query = {name: value for name, value in given.items() if value}
    path = "/v1/operator/usage/reconcile" + (f"?{urlencode(query)}" if query else "")
    client = Client.from_environment(_OPERATOR)
    outcomes = client.send(path, file.read_bytes(), "text/csv")["data"]
    show_rows(outcomes, as_json, ("line", "reference", "status", "cost_change_picousd"))
    if any(outcome["status"] in _UNCLEAR for outcome in outcomes):
        sys.exit(2)


@click.group()
def audit() -> None:
    """Read and verify the audit log."""


@audit.command("list")
@click.option("--refused", is_flag=True, help="Only what was blocked.")
@click.option("--limit", default=50, type=click.IntRange(1, 1000), show_default=True)
@json_option
def audit_list(refused: bool, limit: int, as_json: bool) -> None:
    """Show the newest events of the tenant of TENANTRY_API_KEY."""
    query: dict[str, str | int] = {"limit": limit}
    if refused:
        query["outcome"] = "refused"
    rows = Client.from_environment().get("/v1/audit", **query)["data"]
    show_rows(rows, as_json, ("seq", "at", "actor", "action", "outcome", "layer", "request_id"))


@audit.command("verify")
@json_option
def audit_verify(as_json: bool) -> None:
    """Recompute every chain; exit status 1 if a link is broken. Needs TENANTRY_OPERATOR_KEY."""
    found = Client.from_environment(_OPERATOR).post("/v1/operator/audit/verify")
    if as_json:
        print_json(found)
    else:
        defects = found.pop("defects")
        show(found, False)
        if defects:
            show_rows(defects, False)
    if not found["whole"]:
        sys.exit(1)


@click.command()
@json_option
def pools(as_json: bool) -> None:
    """Show connections to tenants' databases by level; never whose. Needs TENANTRY_OPERATOR_KEY.

    Exit status 1 if a connection was ever not its tenant's own; it was closed before it was used.
    """
    found = Client.from_environment(_OPERATOR).get("/v1/operator/pools")
    levels = found["levels"]
    if as_json:
        print_json(found)
    else:
        names = list(next(iter(levels.values())))
        rows = [{"": name, **{level: levels[level][name] for level in levels}} for name in names]
        show_rows(rows, False)
        click.echo(
            f"{found['open']} of at most {found['most_open']} open, {found['closing']} of them "
            f"closing; {found['waiting']} waiting"
        )
    if any(level["violated"] for level in levels.values()):
        sys.exit(1)


def _query(since: str | None, until: str | None) -> dict[str, str]:
    return {n: v for n, v in (("since", since), ("until", until)) if v is not None}


def _line(line: dict[str, Any]) -> dict[str, Any]:
    return {
        **line,
        "key": line["key"] or "(none)",
        "cost": usd(line["cost_picousd"]),
        "unconfirmed": usd(line["unconfirmed_picousd"]),
    }
