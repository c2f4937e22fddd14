"""`tenantry model-policy`: which models a tenant allows itself, and what stands in for which."""

from typing import Any

import click

from tenantry.cli.client import Client
from tenantry.cli.output import json_option, print_json

_PATH = "/v1/model-policy"


@click.group("model-policy")
def model_policy() -> None:
    """Show or set the model policy of the tenant of TENANTRY_API_KEY."""


@model_policy.command("show")
@json_option
def show(as_json: bool) -> None:
    """Show which models are allowed, and what stands in for which."""
    _show(Client.from_environment().get(_PATH), as_json)


@model_policy.command("set")
@click.option(
    "--allow",
    "allowed",
    multiple=True,
    metavar="MODEL",
    help="A model that is allowed, or ACCOUNT/* for all of an account's. None allows all.",
)
@click.option(
    "--fallback",
    "pairs",
    multiple=True,
    metavar="MODEL=OTHER[,OTHER…]",
    help="What is called in turn when MODEL cannot answer just now; platform:ACCOUNT/MODEL "
    "to let the platform's key follow an own one.",
)
@json_option
def replace(allowed: tuple[str, ...], pairs: tuple[str, ...], as_json: bool) -> None:
    """Replace the policy, whole; without options, every model is allowed and nothing stands in."""
    fallbacks = {}
    for pair in pairs:
        name, equals, others = pair.partition("=")
        if not equals or not others:
            raise click.UsageError(f"--fallback {pair}: write MODEL=OTHER[,OTHER…].")
        fallbacks[name] = others.split(",")
    body = {"allowed": list(allowed) or None, "fallbacks": fallbacks}
    _show(Client.from_environment().put(_PATH, body), as_json)


def _show(policy: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(policy)
        return
    allowed = policy["allowed"]
    click.echo("allowed: " + ("every model" if allowed is None else ", ".join(allowed) or "none"))
    for name, others in policy["fallbacks"].items():
        click.echo(f"{name}: then {', '.join(others)}")
