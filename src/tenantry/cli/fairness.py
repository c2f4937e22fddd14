"""`tenantry fairness`: who waits for whom, what everybody got, and which breakers are open."""

import click

from tenantry.cli.client import Client
from tenantry.cli.output import json_option, print_json, show_rows

_POOL = ("pool", "owner_id", "slots", "headroom", "running", "waiting", "tenants")
_TURNS = (
    "pool", "running", "waiting", "calls", "waited", "wait_s", "longest_s", "refused_full",
    "refused_late", "served",
)  # fmt: skip
_BREAKER = ("account", "is_own", "state", "cause", "retry_after_s", "failure_rate", "slow_rate")


@click.group(invoke_without_command=True)
@click.option("--limit", default=50, type=click.IntRange(1, 1000), show_default=True)
@json_option
@click.pass_context
def fairness(context: click.Context, limit: int, as_json: bool) -> None:
    """Show pools, the tenants that waited longest, open breakers. Needs TENANTRY_OPERATOR_KEY."""
    if context.invoked_subcommand is not None:
        return
    client = Client.from_environment("TENANTRY_OPERATOR_KEY")
    report = client.get("/v1/operator/fairness", limit=limit)
    report["breakers"] = client.get("/v1/operator/breakers")["data"]
    if as_json:
        print_json(report)
        return
    show_rows(report["pools"], False, _POOL)
    show_rows(report["tenants"], False, ("tenant_id", "weight", *_TURNS, "fair_share"))
    show_rows(report["breakers"], False, ("tenant_id", *_BREAKER))


@fairness.command()
@json_option
def mine(as_json: bool) -> None:
    """Show how the calls of the tenant of TENANTRY_API_KEY waited, and its breakers."""
    client = Client.from_environment()
    report = client.get("/v1/fairness")
    report["breakers"] = client.get("/v1/breakers")["data"]
    if as_json:
        print_json(report)
        return
    show_rows(report["turns"], False, _TURNS)
    show_rows(report["breakers"], False, _BREAKER)
