"""`tenantry budget`: what may be used, and what was reached."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import quote

import click

from tenantry.cli.client import Client
from tenantry.cli.output import json_option, show, show_rows

_OPERATOR = "TENANTRY_OPERATOR_KEY"
_PICO = 10**12
_COLUMNS = (
    "id", "set_by", "scope", "of", "unit", "period", "hard_limit", "soft_limit", "used", "held",
    "remaining", "resets_at",
)  # fmt: skip
_PLAN_COLUMNS = ("id", "scope", "subject", "unit", "period", "hard_limit", "soft_limit", "grace")
_tenant = click.option(
    "--tenant", "tenant_name", help="The operator's plan for this tenant (operator's key)."
)


@click.group()
def budget() -> None:
    """Limit what is used, and see what is left.

    For the tenant whose key is TENANTRY_API_KEY; with --tenant, the operator's plan for one.
    """


@budget.command("list")
@_tenant
@json_option
def list_budgets(tenant_name: str | None, as_json: bool) -> None:
    """Budgets, and how far they are used."""
    client, path = _place(tenant_name)
    show_rows(client.get(path)["data"], as_json, _PLAN_COLUMNS if tenant_name else _COLUMNS)


@budget.command("set")
@click.option(
    "--scope",
    default="tenant",
    show_default=True,
    type=click.Choice(["tenant", "member", "key", "assistant", "model"]),
)
@click.option("--of", "subject", default="*", help="An id, or provider/model; each one's if not.")
@click.option(
    "--unit",
    default="tokens",
    show_default=True,
    type=click.Choice(["tokens", "cost", "requests"]),
)
@click.option(
    "--per",
    "period",
    default="day",
    show_default=True,
    type=click.Choice(["second", "minute", "hour", "day", "month"]),
)
@click.option("--limit", "hard_limit", help="Most that is served; of cost in USD, such as 25.50.")
@click.option("--soft", "soft_limit", help="Raises an alert.")
@click.option("--grace", default="0", help="So much beyond the limit is still served.")
@click.option("--alert", "alerts", multiple=True, type=click.IntRange(1, 1000), help="Per cent.")
@_tenant
@json_option
def set_budget(tenant_name: str | None, as_json: bool, **given: Any) -> None:
    """Set a budget; one on the same use is replaced."""
    unit = given["unit"]
    body: dict[str, Any] = {
        name: given[name] for name in ("scope", "subject", "unit", "period")
    } | {
        "hard_limit": _amount(unit, given["hard_limit"]),
        "soft_limit": _amount(unit, given["soft_limit"]),
        "grace": _amount(unit, given["grace"]) or 0,
    }
    if given["alerts"]:
        body["alerts"] = list(given["alerts"])
    client, path = _place(tenant_name)
    show(client.put(path, body), as_json)


@budget.command("remove")
@click.argument("budget_id")
@_tenant
def remove_budget(budget_id: str, tenant_name: str | None) -> None:
    """Remove a budget."""
    client, path = _place(tenant_name)
    client.delete(f"{path}/{quote(budget_id, safe='')}")
    click.echo("Removed.")


@budget.command("alerts")
@json_option
def list_alerts(as_json: bool) -> None:
    """Marks that were reached, newest first."""
    columns = ("reached_at", "scope", "of", "unit", "period", "mark", "amount", "limit")
    show_rows(Client.from_environment().get("/v1/alerts")["data"], as_json, columns)


@budget.command("time-zone")
@click.argument("name")
@click.option("--tenant", "tenant_name", required=True, help="The tenant.")
@json_option
def set_time_zone(name: str, tenant_name: str, as_json: bool) -> None:
    """Choose the calendar of a tenant's hours, days and months. Needs TENANTRY_OPERATOR_KEY."""
    path = f"/v1/tenants/{quote(tenant_name, safe='')}/time-zone"
    show(Client.from_environment(_OPERATOR).put(path, {"time_zone": name}), as_json)


@budget.command("weights")
@click.option("--model", "named", help="provider/model, or provider/* for all of a provider's.")
@click.option("--input", "input_", type=float, help="A token of the prompt; 1 unless given.")
@click.option("--cached", type=float, help="A cached one; 0.1 unless given.")
@click.option("--output", type=float, help="A token produced; 4 unless given.")
@json_option
def weights(
    named: str | None,
    input_: float | None,
    cached: float | None,
    output: float | None,
    as_json: bool,
) -> None:
    """What models weigh, or set it for one. Needs TENANTRY_OPERATOR_KEY."""
    client = Client.from_environment(_OPERATOR)
    if named is None:
        show_rows(client.get("/v1/operator/weights")["data"], as_json)
        return
    provider, slash, model = named.partition("/")
    if not slash:
        raise click.UsageError("--model: provider/model is needed.")
    given: Mapping[str, float | None] = {"input": input_, "cached": cached, "output": output}
    set_to = {name: round(value * 1000) for name, value in given.items() if value is not None}
    show(
        client.put("/v1/operator/weights", {"provider": provider, "model": model, **set_to}),
        as_json,
    )


def _place(tenant_name: str | None) -> tuple[Client, str]:
    if tenant_name is None:
        return Client.from_environment(), "/v1/budgets"
    return Client.from_environment(_OPERATOR), f"/v1/tenants/{quote(tenant_name, safe='')}/budgets"


def _amount(unit: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        amount = Decimal(text.replace("_", ""))
    except InvalidOperation as error:
        raise click.UsageError(f"'{text}' is no number.") from error
    whole = amount * _PICO if unit == "cost" else amount
    if not whole.is_finite() or whole != int(whole):
        raise click.UsageError(f"'{text}' is no whole number of {unit}.")
    return int(whole)
