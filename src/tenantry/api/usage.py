"""What was used and what it cost: a tenant sees its own, an operator the totals (COST-5)."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import StreamingResponse

from tenantry.api.credentials import operator, platform_of, record_operator, tenant
from tenantry.api.problems import request_id_of
from tenantry.core.errors import InvalidRequest, TooLarge, UnsupportedMedia
from tenantry.isolation.context import TenantContext
from tenantry.metering.export import csv_lines
from tenantry.metering.reconcile import Outcome, Whole, read_export
from tenantry.metering.reports import Dimension, EventKey, Line, Period, Sums, tenant_totals
from tenantry.security.auth import Operator

router = APIRouter(prefix="/v1", tags=["usage"])
_DEFAULT_DAYS = 30
_LARGEST_EXPORT = 20 * 1024 * 1024


def period_of(request: Request, since: datetime | None, until: datetime | None) -> Period:
    """The period asked for; the last 30 days unless said otherwise.

    Raises:
        InvalidRequest: a moment has no time zone, or they are the wrong way round.
    """
    now = platform_of(request).clock.now()
    end = until or now + timedelta(seconds=1)
    return Period(since or end - timedelta(days=_DEFAULT_DAYS), end)


@router.get("/usage")
async def usage(
    request: Request,
    ctx: Annotated[TenantContext, tenant("usage:read")],
    by: Dimension = "model",
    since: datetime | None = None,
    until: datetime | None = None,
) -> dict[str, Any]:
    """Totals of the period, and lines by day, model, account, tool, connector, assistant or member.

    Costs are in pico-dollars (1e-12 USD); `unconfirmed_picousd` rests on our own count. What went
    out with an account of the tenant's own (`payer`: tenant) costs nothing here.
    """
    reports, period = platform_of(request).reports, period_of(request, since, until)
    totals = await reports.totals(ctx, period)
    lines = await reports.by(ctx, by, period)
    return {
        "since": period.since,
        "until": period.until,
        "by": by,
        "totals": asdict(totals.sums),
        "reserved": {"calls": totals.reserved_calls, "cost_picousd": totals.reserved_picousd},
        "lines": [_line_json(line) for line in lines],
    }


@router.get("/usage/events")
async def usage_events(
    request: Request,
    ctx: Annotated[TenantContext, tenant("usage:read")],
    since: datetime | None = None,
    until: datetime | None = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """Rows of the ledger, newest first."""
    platform = platform_of(request)
    after = None
    if cursor is not None:
        after = EventKey.parse(platform.cursors.read(ctx.tenant, "usage_events", cursor))
    page = await platform.reports.events(ctx, period_of(request, since, until), limit, after)
    following = page.next and platform.cursors.write(ctx.tenant, "usage_events", page.next)
    return {"data": page.events, "has_more": page.next is not None, "next_cursor": following}


@router.get("/usage/export.csv", response_class=StreamingResponse)
async def usage_export(
    request: Request,
    ctx: Annotated[TenantContext, tenant("usage:read")],
    since: datetime | None = None,
    until: datetime | None = None,
) -> StreamingResponse:
    """Every row of the ledger in the period, as CSV."""
    events = platform_of(request).reports.all_events(ctx, period_of(request, since, until))
    return StreamingResponse(csv_lines(events), media_type="text/csv")


@router.get("/operator/usage")
async def operator_usage(
    request: Request,
    _caller: Annotated[Operator, operator("usage:read")],
    since: datetime | None = None,
    until: datetime | None = None,
) -> dict[str, Any]:
    """Totals by tenant, the costliest first; nothing of any content."""
    platform, period = platform_of(request), period_of(request, since, until)
    totals = await tenant_totals(platform.operator_db, period)
    data = [{"tenant_id": tenant_id, **asdict(sums)} for tenant_id, sums in totals.items()]
    overall = sum(totals.values(), start=Sums())
    return {
        "since": period.since,
        "until": period.until,
        "totals": asdict(overall),
        "data": data,
    }


@router.post("/operator/usage/reconcile")
async def reconcile(
    request: Request,
    caller: Annotated[Operator, operator("tenants:write")],
    complete_for: Annotated[str | None, Query(max_length=100)] = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> dict[str, Any]:
    """Bring entries to a provider's own figures: the body is its export as CSV.

    All lines of a tenant are applied or none; running it twice changes nothing. With the name of
    an account in `complete_for`, the export is all that this account was billed for from `since` to
    `until`: calls of ours that are not in it, and rest on our own count, become nothing.
    """
    platform = platform_of(request)
    if "csv" not in request.headers.get("content-type", ""):
        raise UnsupportedMedia("Send the export as text/csv.")
    export = read_export((await _body(request)).splitlines())
    whole = _whole(complete_for, since, until)
    located = await platform.reconciler.locate(export)
    parts = [located]
    if whole is not None:
        parts.append(await platform.reconciler.unseen(export, located, whole))
    outcomes: list[Outcome] = [outcome for part in parts for outcome in part.rest]
    for owner, entries in (owned for part in parts for owned in part.by_tenant.items()):
        ctx = platform.authenticator.for_operator(caller, owner, request_id_of(request))
        outcomes += await platform.reconciler.apply(ctx, entries)
        await record_operator(request, caller, "usage.reconciled", str(len(entries)), owner=owner)
    return {"data": [_outcome_json(outcome) for outcome in outcomes]}


def _whole(account: str | None, since: datetime | None, until: datetime | None) -> Whole | None:
    if account is None:
        if since is not None or until is not None:
            raise InvalidRequest("since, until: go with complete_for.")
        return None
    if since is None or until is None:
        raise InvalidRequest("complete_for: needs since and until, the period of the export.")
    period = Period(since, until)
    return Whole(account, period.since, period.until)


async def _body(request: Request) -> str:
    received = bytearray()
    async for part in request.stream():
        received += part
        if len(received) > _LARGEST_EXPORT:
            raise TooLarge(f"An export has at most {_LARGEST_EXPORT} bytes; split it.")
    try:
        return received.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest("The export is not UTF-8 text.") from error


def _line_json(line: Line) -> dict[str, Any]:
    return {
        "key": line.key,
        "operation": line.operation,
        "payer": line.payer,
        **asdict(line.sums),
    }


def _outcome_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "line": outcome.entry.line,
        "reference": outcome.entry.reference,
        "status": outcome.status,
        "cost_change_picousd": outcome.cost_change_picousd,
    }
