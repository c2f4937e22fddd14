"""`POST /v1/chat/completions`: an assistant of the tenant, or a provider's model by its raw name.

The way of a request, top to bottom: credential, body, then either the gateway (bytes in, bytes
out) or the agent's loop, whose events become OpenAI's chunks. `tenantry` is our extension field.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.types import Send

from tenantry.agent.events import AgentEvent, Answer, ToolFinished, ToolStarted
from tenantry.api.credentials import authenticate
from tenantry.api.lanes import lane_of
from tenantry.api.problems import problem_body
from tenantry.api.raw import is_raw, model_in, pass_on, refuse_key
from tenantry.api.reading import read_object
from tenantry.api.streaming import DONE, event, send_chunks, send_json, while_connected
from tenantry.api.turns import facts, turn_request
from tenantry.core.errors import TenantryError
from tenantry.fairness.bulkheads import Lane
from tenantry.gateway.forms import CHAT, Asked
from tenantry.isolation.context import TenantContext
from tenantry.metering.usage import TokenUsage
from tenantry.platform import Platform
from tenantry.providers.base import TextDelta


async def chat_completions(platform: Platform, request: Request, send: Send) -> None:
    """Answer a chat completion request, streamed or whole."""
    ctx = await authenticate(platform, request, "chat")
    given = await read_object(platform, request, ctx)
    if is_raw(model_in(given)):
        await pass_on(platform, ctx, request, Asked(CHAT, given), send)
        return
    refuse_key(request)
    lane = lane_of(request)
    await while_connected(request.receive, _ask(platform, ctx, given.fields, lane, send))


async def _ask(
    platform: Platform, ctx: TenantContext, body: Mapping[str, Any], lane: Lane, send: Send
) -> None:
    turn = turn_request(body, lane)
    frame = _Frame(ctx, platform.clock.now().timestamp(), turn.opening.assistant)
    events = platform.agent.run(ctx, turn)
    if body.get("stream"):
        options = body.get("stream_options") or {}
        await send_chunks(
            send, "text/event-stream", _stream(frame, events, bool(options.get("include_usage")))
        )
        return
    async with aclosing(events):
        async for happened in events:
            if isinstance(happened, Answer):
                await send_json(send, 200, frame.whole(happened))


async def _stream(
    frame: "_Frame", events: AsyncGenerator[AgentEvent, None], with_usage: bool
) -> AsyncGenerator[bytes, None]:
    begun = False
    try:
        async with aclosing(events):
            async for happened in events:
                if not begun:
                    yield event(frame.chunk({"role": "assistant", "content": ""}))
                    begun = True
                for data in frame.chunks(happened, with_usage):
                    yield event(data)
    except TenantryError as error:
        if not begun:
            raise
        # The head is out: the error can only be an event, in the form OpenAI's clients read.
        yield event(problem_body(error, frame.request_id))
        return
    yield DONE


class _Frame:
    """What all chunks of one answer share."""

    def __init__(self, ctx: TenantContext, created: float, model: str) -> None:
        self.request_id = ctx.request_id
        self._head = {"id": f"chatcmpl-{ctx.request_id}", "created": int(created), "model": model}

    def chunk(self, delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
        """A chunk of the answer."""
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def chunks(self, happened: AgentEvent, with_usage: bool) -> list[dict[str, Any]]:
        """The chunks that an event of the loop becomes."""
        if isinstance(happened, TextDelta):
            return [self.chunk({"content": happened.text})]
        if isinstance(happened, ToolStarted):
            note = {"tool": happened.tool, "call_id": happened.call_id, "state": "started"}
            return [{**self.chunk({}), "tenantry": note}]
        if isinstance(happened, ToolFinished):
            note = {"tool": happened.tool, "call_id": happened.call_id, "state": happened.outcome}
            return [{**self.chunk({}), "tenantry": note}]
        last = {**self.chunk({}, happened.finish_reason), "tenantry": facts(happened)}
        if not with_usage:
            return [last]
        usage = {
            **self._head,
            "object": "chat.completion.chunk",
            "choices": [],
            "usage": usage_json(happened.usage),
        }
        return [last, usage]

    def whole(self, answer: Answer) -> dict[str, Any]:
        """The answer as one document."""
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": answer.finish_reason,
            "logprobs": None,
        }
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [choice],
            "usage": usage_json(answer.usage),
            "tenantry": facts(answer),
        }


def usage_json(usage: TokenUsage) -> dict[str, Any]:
    """Usage in OpenAI's form."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
