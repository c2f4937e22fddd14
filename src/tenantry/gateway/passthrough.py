"""One raw call: announced, sent, passed on as it comes, settled before its last event goes out."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from tenantry.admission import Admission, Ask, Ticket
from tenantry.core.clock import Clock
from tenantry.core.errors import (
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    TenantryError,
)
from tenantry.core.events import AuditSink, Json
from tenantry.core.settling import to_its_end
from tenantry.fairness.bulkheads import Lane
from tenantry.gateway.departure import Departure, Departures
from tenantry.gateway.forms import Asked
from tenantry.gateway.relay import Relay
from tenantry.gateway.request import RawRequest
from tenantry.gateway.running import RunningCall
from tenantry.isolation.context import TenantContext
from tenantry.metering.ledger import CallIntent, Ledger, OpenCall
from tenantry.metering.usage import TokenUsage
from tenantry.providers.calls import Attempt, Call, RequestRejected, open_call
from tenantry.providers.fallbacks import may_follow
from tenantry.providers.routes import RawRoute
from tenantry.providers.surfaces import Door
from tenantry.providers.upstream import UpstreamResponse


class _CallersFaultError(RequestRejected):
    """The model provider refused what the caller sent."""

    http_status = 400


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """What goes back to the client, as JSON or as a stream of events.

    Attributes:
        body: the whole answer, or its events. Iterate to the end, or `aclose`.
        queue_s: how long the call waited for its turn.
        headers: what is left of its budgets.
    """

    body: bytes | AsyncIterator[bytes]
    queue_s: float
    headers: Mapping[str, str]


class Gateway:
    """Forwards raw calls for every tenant; keeps nothing between two calls."""

    def __init__(
        self, admission: Admission, ledger: Ledger, audit: AuditSink, clock: Clock
    ) -> None:
        self._admission = admission
        self._ledger = ledger
        self._audit = audit
        self._clock = clock
        self._relay = Relay(ledger, clock)
        self._departures = Departures()

    def departure(self, ctx: TenantContext) -> Departure:
        """What to do when the client of a call leaves."""
        return self._departures.of(ctx.tenant)

    async def call(
        self,
        ctx: TenantContext,
        route: RawRoute,
        asked: Asked,
        departure: Departure,
        lane: Lane = "interactive",
    ) -> RawAnswer:
        """Send what is asked to its provider, when it is the tenant's turn.

        Where the route has fallbacks, they follow in turn for as long as nothing was used; each is
        a call of its own, announced, settled and recorded.

        Raises:
            InvalidRequest: it is not what it must be, or the model is not asked by this API.
            BudgetExhausted: a budget has no room for it.
            QueueFull, FairTurnDeadline: its turn would not come, or did not come in time.
            ProviderError: it could not be reached, or refused; the call is settled then.
            StoreUnavailable: the intent or the manifest cannot be written; nothing was sent.
        """
        surface = asked.form.surface
        spare = [each for each in route.fallbacks if surface in each.doors]
        for each, is_last in zip((route, *spare), (*(False for _ in spare), True), strict=True):
            try:
                return await self._call(ctx, each, asked, departure, lane)
            except ProviderError as error:
                if is_last or not may_follow(error, each.account):
                    raise
        raise ProviderUnavailable

    async def _call(
        self, ctx: TenantContext, route: RawRoute, asked: Asked, departure: Departure, lane: Lane
    ) -> RawAnswer:
        door = route.door(asked.form.surface)
        request = asked.prepare(route)
        intent = CallIntent(
            asked.form.operation,
            route.provider,
            route.upstream_model,
            request.bound,
            account=route.account.name,
            payer=route.account.payer,
            key=asked.request_key,
        )
        ticket = await self._admission.enter(ctx, Ask(route.account, intent, lane))
        headers = ticket.headers
        call = await self._announced(ctx, route, asked, request, ticket)
        response = await self._send(route, door, call, departure)
        if request.stream:
            return RawAnswer(self._relay.stream(call, response), ticket.queue_s, headers)
        return RawAnswer(await self._relay.whole(call, response), ticket.queue_s, headers)

    async def _announced(
        self,
        ctx: TenantContext,
        route: RawRoute,
        asked: Asked,
        request: RawRequest,
        ticket: Ticket,
    ) -> RunningCall:
        """The call, announced while it waits for its turn."""
        try:
            opened = await self._announce(ctx, route, asked, request, ticket)
        except BaseException as error:
            await ticket.leave(error)
            raise
        return RunningCall(ctx, opened, asked, request, ticket)

    async def _send(
        self, route: RawRoute, door: Door, call: RunningCall, departure: Departure
    ) -> UpstreamResponse:
        """The provider's answer, once it is the call's turn, after as many attempts as are allowed.

        Only what was never sent, or what the provider itself said had failed, is tried again: so
        no two attempts are ever billed. A call that failed otherwise is settled with its prompt,
        unconfirmed: the provider may have read it.
        """
        headers = {**call.asked.headers, "x-client-request-id": str(call.open.call_id)}
        sent, attempt = Call(door.path, call.request.body, route.retry, headers=headers), Attempt()
        try:
            await call.ticket.turn()
            departure.is_sent = True
            left_s = max(0.0, call.ctx.deadline - self._clock.monotonic())
            async with asyncio.timeout(left_s):
                response = await open_call(door.upstream, sent, attempt)
        except BaseException as error:
            if attempt.is_out:
                call.sent()
            await call.settle(self._ledger, error)
            if isinstance(error, TimeoutError):
                raise ProviderTimeout("The request ran out of time.") from error
            if isinstance(error, RequestRejected):
                raise _CallersFaultError(error.message) from error
            raise
        call.ticket.answered()
        call.sent()
        return response

    async def _announce(
        self,
        ctx: TenantContext,
        route: RawRoute,
        asked: Asked,
        request: RawRequest,
        ticket: Ticket,
    ) -> OpenCall:
        """Manifest and intent, both durable; at the same time, so that they cost one wait."""
        opening = asyncio.create_task(ticket.announce())
        try:
            if asked.request_key is not None:
                # First: a call that was made before is not written down as another.
                await asyncio.shield(opening)
            await self._manifest(ctx, route, request)
            return await asyncio.shield(opening)
        except BaseException:
            await to_its_end(self._withdraw(ctx, opening, ticket))
            raise

    async def _withdraw(
        self, ctx: TenantContext, opening: "asyncio.Task[OpenCall]", ticket: Ticket
    ) -> None:
        """Close a call that will not be made: nobody pays for it."""
        try:
            opened = await opening
        except TenantryError:
            return  # it was never announced
        await ticket.entering(self._ledger.close(ctx, opened, TokenUsage()))

    async def _manifest(self, ctx: TenantContext, route: RawRoute, request: RawRequest) -> None:
        """What the model is about to see, as digests (CTX-2): a segment a part of the request."""
        segments: list[Json] = [
            {"owner": str(ctx.tenant), "origin": "client", "label": name, "sha256": _digest(part)}
            for name, part in request.segments.items()
        ]
        detail: Mapping[str, Json] = {
            "model": route.name,
            "account": route.account.name,
            "payer": route.account.payer,
            "segments": segments,
            "prompt_sha256": _digest(request.body),
        }
        await self._audit.record(ctx.event("model.called", "allowed", "model", route.name, detail))


def _digest(part: bytes) -> str:
    return hashlib.sha256(part).hexdigest()
