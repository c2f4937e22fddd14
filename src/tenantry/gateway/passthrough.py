"""One raw call: announced, sent, passed on as it comes, settled before its last event goes out."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from tenantry.core.clock import Clock
from tenantry.core.errors import ProviderMalformed, ProviderTimeout, TenantryError
from tenantry.core.events import AuditSink, Json
from tenantry.gateway.frames import Frames, events_in
from tenantry.gateway.late_meter import LateMeter
from tenantry.gateway.request import RawRequest
from tenantry.isolation.context import TenantContext
from tenantry.metering.ledger import CallIntent, Ledger, OpenCall
from tenantry.metering.usage import Operation, TokenUsage
from tenantry.providers.calls import Call, RequestRejected, open_call
from tenantry.providers.routes import RawRoute
from tenantry.providers.upstream import UpstreamResponse
from tenantry.providers.usage import StreamMeter, usage_in_body
from tenantry.sessions.settling import to_its_end

_LARGEST_ANSWER = 64 * 1024 * 1024
_PROGRESS_EVERY_S = 2.0
_PROGRESS_EVERY_BYTES = 256 * 1024
"""About two thousand tokens of a stream, each in an event of its own."""


class _CallersFaultError(RequestRejected):
    """The model provider refused what the caller sent."""

    http_status = 400


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """What goes back to the client: media type and bytes. Iterate to the end, or `aclose`."""

    media_type: str
    chunks: AsyncIterator[bytes]


@dataclass(slots=True)
class _Call:
    """A call under way; what it would be settled with if it ended now."""

    open: OpenCall
    usage: TokenUsage
    confirmed: bool = True


class Gateway:
    """Forwards raw calls for every tenant; keeps nothing between two calls."""

    def __init__(self, ledger: Ledger, audit: AuditSink, clock: Clock) -> None:
        self._ledger = ledger
        self._audit = audit
        self._clock = clock

    async def call(
        self,
        ctx: TenantContext,
        route: RawRoute,
        request: RawRequest,
        operation: Operation = "chat",
    ) -> RawAnswer:
        """Send a request to its provider.

        Raises:
            ProviderError: it could not be reached, or refused; the call is settled then.
            StoreUnavailable: the intent or the manifest cannot be written; nothing was sent.
        """
        intent = CallIntent(
            operation,
            route.provider,
            route.upstream_model,
            request.bound,
            account=route.account.name,
            payer=route.account.payer,
        )
        opened = await self._announce(ctx, route, request, intent)
        # Until the provider says something, nothing was used.
        call = _Call(opened, TokenUsage())
        try:
            response = await self._send(ctx, route, request, call)
        except BaseException:
            await to_its_end(self._settle(ctx, call))
            raise
        # From here on the prompt was read: it counts even if the answer is cut.
        call.usage = TokenUsage(input_tokens=request.bound.input_tokens, estimated=True)
        call.confirmed = False
        if request.stream:
            return RawAnswer("text/event-stream", self._stream(ctx, call, request, response))
        return RawAnswer("application/json", self._whole(ctx, call, response))

    async def _send(
        self, ctx: TenantContext, route: RawRoute, request: RawRequest, call: _Call
    ) -> UpstreamResponse:
        """The provider's answer, after as many attempts as the account allows.

        Only what was never sent, or what the provider itself said had failed, is tried again: so
        no two attempts are ever billed.
        """
        is_chat = call.open.intent.operation == "chat"
        path = route.chat_path if is_chat else route.embeddings_path
        headers = {"x-client-request-id": str(call.open.call_id)}
        asked = Call(path, request.body, route.retry, headers=headers)
        try:
            async with asyncio.timeout(max(0.0, ctx.deadline - self._clock.monotonic())):
                return await open_call(route.upstream, asked)
        except TimeoutError as error:
            raise ProviderTimeout("The request ran out of time.") from error
        except RequestRejected as error:
            raise _CallersFaultError(error.message) from error

    async def _whole(
        self, ctx: TenantContext, call: _Call, response: UpstreamResponse
    ) -> AsyncIterator[bytes]:
        body = bytearray()
        try:
            async for chunk in response.chunks:
                body += chunk
                if len(body) > _LARGEST_ANSWER:
                    raise ProviderMalformed("The model provider sent an answer that is too large.")
            _require_json(body)
            reported = usage_in_body(bytes(body))
            if reported is not None:
                call.usage, call.confirmed = reported, not reported.estimated
            else:
                call.usage = _counted(call.usage, len(body))
        finally:
            response.close()
            await to_its_end(self._settle(ctx, call))
        yield bytes(body)

    async def _stream(
        self,
        ctx: TenantContext,
        call: _Call,
        request: RawRequest,
        response: UpstreamResponse,
    ) -> AsyncIterator[bytes]:
        late, frames = LateMeter(), Frames()
        noted_at, unnoted_bytes = self._clock.monotonic(), 0
        is_whole = False
        try:
            async for chunk in response.chunks:
                late.feed(chunk)
                # The last event waits until the settlement is durable.
                if ready := _asked_for(frames.feed(chunk), request):
                    yield ready
                unnoted_bytes += len(chunk)
                now = self._clock.monotonic()
                if now - noted_at > _PROGRESS_EVERY_S or unnoted_bytes > _PROGRESS_EVERY_BYTES:
                    noted_at, unnoted_bytes = now, 0
                    _note(call, late.now())
                    await self._ledger.progress(ctx, call.open, call.usage)
            is_whole = True
            ended = late.end()
            _note(call, ended)
            if not ended.finished or ended.malformed:
                raise ProviderMalformed("The model provider broke off its answer.")
        finally:
            if not is_whole:
                _note(call, late.now())
            response.close()
            await to_its_end(self._settle(ctx, call))
        yield _asked_for(frames.rest(), request)

    async def _announce(
        self, ctx: TenantContext, route: RawRoute, request: RawRequest, intent: CallIntent
    ) -> OpenCall:
        """Manifest and intent, both durable; at the same time, so that they cost one wait."""
        opening = asyncio.create_task(self._ledger.open(ctx, intent))
        try:
            await self._manifest(ctx, route, request)
            return await asyncio.shield(opening)
        except BaseException:
            await to_its_end(self._withdraw(ctx, opening))
            raise

    async def _withdraw(self, ctx: TenantContext, opening: "asyncio.Task[OpenCall]") -> None:
        """Close a call that will not be made: nobody pays for it."""
        try:
            opened = await opening
        except TenantryError:
            return  # it was never announced
        await self._ledger.close(ctx, opened, TokenUsage())

    async def _settle(self, ctx: TenantContext, call: _Call) -> None:
        await self._ledger.close(ctx, call.open, call.usage, confirmed=call.confirmed)

    async def _manifest(self, ctx: TenantContext, route: RawRoute, request: RawRequest) -> None:
        """What the model is about to see, as digests (CTX-2): one segment a message."""
        segments: list[Json] = [
            {"owner": str(ctx.tenant), "origin": "client", "sha256": _digest(message)}
            for message in request.messages
        ]
        detail: Mapping[str, Json] = {
            "model": route.name,
            "account": route.account.name,
            "payer": route.account.payer,
            "segments": segments,
            "prompt_sha256": hashlib.sha256(request.body).hexdigest(),
        }
        await self._audit.record(ctx.event("model.called", "allowed", "model", route.name, detail))


def _note(call: _Call, meter: StreamMeter) -> None:
    if meter.reported is not None:
        call.usage, call.confirmed = meter.reported, not meter.reported.estimated
    else:
        prompt = call.usage.input_tokens
        call.usage = TokenUsage(prompt, output_tokens=meter.deltas, estimated=True)


def _counted(prompt: TokenUsage, size_bytes: int) -> TokenUsage:
    # No figures at all: a token is hardly ever longer than four bytes of English.
    return TokenUsage(prompt.input_tokens, output_tokens=-(-size_bytes // 4), estimated=True)


def _asked_for(data: bytes, request: RawRequest) -> bytes:
    """What the client is to see of these events: not the usage that only we asked for."""
    if request.wants_usage or b'"usage"' not in data:
        return data
    return b"".join(event for event in events_in(data) if not _is_usage_only(event))


def _is_usage_only(event: bytes) -> bool:
    """Whether an event carries the usage alone, which the client did not ask for."""
    if b'"usage"' not in event:
        return False
    data = event.strip().removeprefix(b"data:").strip()
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return isinstance(found, dict) and found.get("choices") == [] and bool(found.get("usage"))


def _require_json(body: bytearray) -> None:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ProviderMalformed from error


def _digest(message: Mapping[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(message)).hexdigest()
