"""The model boundary (CTX-2, COST-1): nothing reaches a model but through here.

In this order, each step a condition of the next:

1. Every segment of the prompt is the caller's own, or the call is refused and audited.
2. The call is admitted and queues for its fair turn; meanwhile the prompt manifest is written to
   the audit log and the call's intent to the ledger, both durable.
3. Its turn has come and the prompt leaves. While the answer streams, what it has surely used is
   noted in the ledger.
4. However it ends, the charge says what the call is to be settled with.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from uuid import UUID

from tenantry.admission import Admission, Ask, Ticket
from tenantry.agent.counting import OutputCount, likely_prompt_tokens, most_tokens
from tenantry.agent.messages import Prompt, Segment
from tenantry.core.clock import Clock
from tenantry.core.errors import (
    BoundaryCrossed,
    EgressRefused,
    InvalidRequest,
    ProviderError,
    ProviderMalformed,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)
from tenantry.core.events import AuditSink, Json, Outcome
from tenantry.core.settling import to_its_end
from tenantry.core.storable import storable
from tenantry.fairness.bulkheads import Lane
from tenantry.isolation.context import TenantContext
from tenantry.metering.ledger import CallIntent, Ledger
from tenantry.metering.usage import TokenUsage
from tenantry.providers.base import ChatRequest, Chunk, Finished, ModelRoute
from tenantry.providers.fallbacks import may_follow
from tenantry.sessions.session import Charge

_PROGRESS_S = 2.0
_PROGRESS_TOKENS = 2000
_MOST_BYTES_PER_TOKEN = 64  # of an answer as a whole: a provider that sends more ignores its bound
_SLACK_BYTES = 65_536
_LONGEST_ORIGIN = 100
_OUT_OF_TIME = "The request ran out of time."
_Detail = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class ModelCall:
    """A prompt, and where it is to go.

    Attributes:
        prompt: what the model is shown.
        route: the model.
        max_output_tokens: the most it may produce; always sent, it bounds the cost.
        temperature: 0 to 2, or None for the provider's default.
        assistant_id: the assistant that asks, for the ledger and the manifest.
        assistant_version: which version of it.
        lane: in which the call waits for its turn.
    """

    prompt: Prompt
    route: ModelRoute
    max_output_tokens: int
    temperature: float | None = None
    assistant_id: UUID | None = None
    assistant_version: int | None = None
    lane: Lane = "interactive"

    def over(self, route: ModelRoute) -> "ModelCall":
        """The same call to another model."""
        most = min(self.max_output_tokens, route.max_output_tokens)
        return replace(self, route=route, max_output_tokens=most)

    def request(self) -> ChatRequest:
        """The call as the provider gets it."""
        return ChatRequest(
            model=self.route.upstream,
            messages=self.prompt.messages(),
            tools=self.prompt.tools,
            max_output_tokens=self.max_output_tokens,
            temperature=self.temperature,
        )


class ModelBoundary:
    """Checks, admits, records, meters and makes model calls."""

    def __init__(
        self, admission: Admission, audit: AuditSink, ledger: Ledger, clock: Clock
    ) -> None:
        self._admission = admission
        self._audit = audit
        self._ledger = ledger
        self._clock = clock

    async def stream(
        self, ctx: TenantContext, call: ModelCall, charges: list[Charge]
    ) -> AsyncGenerator[Chunk, None]:
        """Text deltas in order, then exactly one `Finished`, whose usage is never None.

        Closing the generator cancels the call. The call's charge is added to `charges` before
        anything leaves, and is right at every moment: whoever holds it can settle the call. Where
        the route has fallbacks, they follow in turn for as long as nothing was used; each is a
        call of its own.

        Raises:
            BoundaryCrossed: a segment of the prompt is another tenant's.
            BudgetExhausted: a budget has no room for it.
            QueueFull, FairTurnDeadline: the tenant's turn would not come, or did not in time.
            StoreUnavailable: manifest or intent cannot be written; nothing has left.
            ProviderError: the provider failed; `ProviderTimeout` when the deadline passed.
        """
        await self._refuse_foreign(ctx, call.prompt)
        spare = call.route.fallbacks
        for each, is_last in zip(
            (call, *map(call.over, spare)), (*(False for _ in spare), True), strict=True
        ):
            has_begun = False
            try:
                async with aclosing(self._stream(ctx, each, charges)) as chunks:
                    async for chunk in chunks:
                        has_begun = True
                        yield chunk
                return
            except ProviderError as error:
                if is_last or has_begun or not may_follow(error, each.route.account):
                    raise

    async def _stream(
        self, ctx: TenantContext, call: ModelCall, charges: list[Charge]
    ) -> AsyncGenerator[Chunk, None]:
        if ctx.deadline <= self._clock.monotonic():
            raise ProviderTimeout(_OUT_OF_TIME)
        request = call.request()
        ask = Ask(call.route.account, self._intent(ctx, call, request), call.lane)
        async with self._admission.admit(ctx, ask) as ticket:
            charge = await to_its_end(self._announce(ctx, call, request, charges, ticket))
            try:
                await ticket.turn()
            except BaseException:
                charge.ended = True
                raise
            async with aclosing(self._answer(ctx, call, request, charge, ticket)) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def _answer(
        self,
        ctx: TenantContext,
        call: ModelCall,
        request: ChatRequest,
        charge: Charge,
        ticket: Ticket,
    ) -> AsyncGenerator[Chunk, None]:
        watch = _Watch(charge, request, self._clock.monotonic())
        sent = replace(request, call_id=str(charge.call.call_id))
        chunks = call.route.model.stream(sent)
        try:
            while True:
                chunk = await self._next(ctx, chunks)
                ticket.answered()
                if isinstance(chunk, Finished):
                    finished = watch.finished(chunk)
                    ticket.used(charge.usage)
                    yield finished
                    return
                watch.received(chunk.text)
                if watch.is_due(self._clock.monotonic()):
                    await self._ledger.progress(ctx, charge.call, charge.usage)
                yield chunk
        except (ProviderUnavailable, ProviderRejected, InvalidRequest, EgressRefused):
            watch.refused()
            raise
        finally:
            charge.ended = True
            ticket.used(charge.usage)
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()

    async def _refuse_foreign(self, ctx: TenantContext, prompt: Prompt) -> None:
        foreign = [s for s in prompt.segments if s.owner != ctx.tenant]
        if not foreign:
            return
        # Nothing of the segment but its owner, as a keyed digest: this log is the caller's to read.
        detail: _Detail = {"segments": len(foreign), "of": len(prompt.segments)}
        await self._record(ctx, "model.foreign_segment", "refused", str(foreign[0].owner), detail)
        raise BoundaryCrossed

    async def _announce(
        self,
        ctx: TenantContext,
        call: ModelCall,
        request: ChatRequest,
        charges: list[Charge],
        ticket: Ticket,
    ) -> Charge:
        """Manifest and intent, at the same time; the charge is known even if the manifest fails."""
        record = self._record(
            ctx, "model.called", "allowed", call.route.name, _manifest(call, request)
        )
        opened, recorded = await asyncio.gather(ticket.announce(), record, return_exceptions=True)
        if isinstance(opened, BaseException):
            raise opened
        charge = Charge(opened, on_entered=ticket.entered)
        charges.append(charge)
        if isinstance(recorded, BaseException):
            charge.ended = True
            raise recorded
        return charge

    def _intent(self, ctx: TenantContext, call: ModelCall, request: ChatRequest) -> CallIntent:
        route = call.route
        lifetime_s = max(60.0, ctx.deadline - self._clock.monotonic() + 60.0)
        return CallIntent(
            "chat",
            route.provider,
            route.upstream,
            most_tokens(request),
            call.assistant_id,
            lifetime_s,
            route.account.name,
            route.account.payer,
        )

    async def _record(
        self, ctx: TenantContext, action: str, outcome: Outcome, target: str, detail: _Detail
    ) -> None:
        await self._audit.record(ctx.event(action, outcome, "model", target, detail))

    async def _next(self, ctx: TenantContext, chunks: AsyncIterator[Chunk]) -> Chunk:
        left_s = ctx.deadline - self._clock.monotonic()
        try:
            async with asyncio.timeout(max(0.0, left_s)):
                chunk = await anext(chunks, None)
        except TimeoutError as error:
            raise ProviderTimeout(_OUT_OF_TIME) from error
        if chunk is None:
            raise ProviderMalformed("The model's answer ended early.")
        return chunk


class _Watch:
    """Keeps a call's charge true while its answer streams."""

    def __init__(self, charge: Charge, request: ChatRequest, now: float) -> None:
        self._charge = charge
        self._most_bytes = request.max_output_tokens * _MOST_BYTES_PER_TOKEN + _SLACK_BYTES
        self._count = OutputCount()
        self._noted_at, self._noted_tokens = now, 0
        # From here on the prompt may have been read, whatever comes back.
        charge.usage = TokenUsage(input_tokens=likely_prompt_tokens(request), estimated=True)
        charge.confirmed = False

    def received(self, text: str) -> None:
        """Count a delta.

        Raises:
            ProviderMalformed: the answer is far beyond what the call was allowed.
        """
        self._count.add(text)
        self._charge.usage = replace(self._charge.usage, output_tokens=self._count.surely)
        if self._count.size_bytes > self._most_bytes:
            raise ProviderMalformed("The model's answer is longer than it may be.")

    def is_due(self, now: float) -> bool:
        """Whether the progress is to be noted now."""
        tokens = self._charge.usage.output_tokens
        if now - self._noted_at < _PROGRESS_S and tokens - self._noted_tokens < _PROGRESS_TOKENS:
            return False
        self._noted_at, self._noted_tokens = now, tokens
        return True

    def refused(self) -> None:
        """The provider failed the call; before any output it has used nothing that is billed."""
        if not self._count.deltas:
            self._charge.usage, self._charge.confirmed = TokenUsage(), True

    def finished(self, end: Finished) -> Finished:
        """The end with the figures that count: the provider's, or ours when it has none."""
        usage = end.usage
        if usage is None or self._count.contradicts(usage):
            likely = self._count.likely(end.tool_calls)
            usage = replace(self._charge.usage, output_tokens=likely)
        self._charge.usage, self._charge.confirmed = usage, not usage.estimated
        return replace(end, usage=usage)


def _manifest(call: ModelCall, request: ChatRequest) -> _Detail:
    """What the model is about to see, as digests: enough to prove it, nothing to read."""
    sent = {
        "messages": [asdict(message) for message in request.messages],
        "tools": [asdict(tool) for tool in request.tools],
    }
    return {
        "provider": call.route.provider,
        "account": call.route.account.name,
        "payer": call.route.account.payer,
        "model": request.model,
        "assistant_id": str(call.assistant_id) if call.assistant_id else None,
        "assistant_version": call.assistant_version,
        "max_output_tokens": request.max_output_tokens,
        "marker": call.prompt.marker,
        "prompt_sha256": hashlib.sha256(json.dumps(sent, sort_keys=True).encode()).hexdigest(),
        "segments": [_entry(segment) for segment in call.prompt.segments],
    }


def _entry(segment: Segment) -> _Detail:
    content = segment.content
    return {
        "owner": str(segment.owner),
        "origin": storable(segment.origin)[:_LONGEST_ORIGIN],  # may name what a model asked for
        "label": segment.label,
        "role": segment.role,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }
