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
from tenantry.agent.parts import TurnRequest
from tenantry.api.credentials import authenticate
from tenantry.api.problems import problem_body
from tenantry.api.reading import read_object
from tenantry.api.streaming import DONE, event, send_chunks, send_json, while_connected
from tenantry.core.errors import InvalidRequest, NotFound, TenantryError
from tenantry.core.ids import ConversationId, parse_id
from tenantry.gateway.request import chat_request
from tenantry.isolation.context import TenantContext
from tenantry.metering.usage import TokenUsage
from tenantry.platform import Platform
from tenantry.providers.base import TextDelta
from tenantry.sessions.session import Opening

_MOST_MESSAGES = 200


async def chat_completions(platform: Platform, request: Request, send: Send) -> None:
    """Answer a chat completion request, streamed or whole."""
    ctx = await authenticate(platform, request, "chat")
    body = await read_object(platform, request, ctx)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidRequest("model: the name of an assistant or of a model is needed.")
    work = _raw(platform, ctx, body, send) if "/" in model else _ask(platform, ctx, body, send)
    await while_connected(request.receive, work)


async def _raw(platform: Platform, ctx: TenantContext, body: Mapping[str, Any], send: Send) -> None:
    route = await platform.providers.resolve_raw(ctx, body["model"])
    prepared = chat_request(body, route.upstream_model, route.max_output_tokens, route.limit_field)
    answer = await platform.gateway.call(ctx, route, prepared)
    await send_chunks(send, answer.media_type, answer.chunks)


async def _ask(platform: Platform, ctx: TenantContext, body: Mapping[str, Any], send: Send) -> None:
    turn = turn_request(body)
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
        last = {**self.chunk({}, happened.finish_reason), "tenantry": _facts(happened)}
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
            "tenantry": _facts(answer),
        }


def turn_request(body: Mapping[str, Any]) -> TurnRequest:
    """What the member asks, out of a chat completion request.

    Raises:
        InvalidRequest: messages are missing or of a form that assistants do not take.
        NotFound: the conversation cannot exist.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not 1 <= len(messages) <= _MOST_MESSAGES:
        raise InvalidRequest(f"messages: a list of 1 to {_MOST_MESSAGES} messages is needed.")
    if body.get("tools") or body.get("functions"):
        raise InvalidRequest("tools: an assistant brings its own tools; name a raw model instead.")
    spoken = [_spoken(message) for message in messages]
    role, question = spoken[-1]
    if role != "user" or not question.strip():
        raise InvalidRequest("messages: the last one must be the user's, and not empty.")
    opening = Opening(str(body["model"]), question, _conversation(body))
    # In a conversation of ours the history is ours too; a client's own is not needed.
    history = [] if opening.conversation_id else spoken[:-1]
    return TurnRequest(
        opening,
        history,
        _number(body, int, "max_completion_tokens", "max_tokens"),
        _number(body, (int, float), "temperature"),
    )


def usage_json(usage: TokenUsage) -> dict[str, Any]:
    """Usage in OpenAI's form."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _facts(answer: Answer) -> dict[str, Any]:
    return {
        "conversation_id": str(answer.conversation_id),
        "message_no": answer.message_no,
        "assistant_version": answer.assistant_version,
        "steps": answer.steps,
        "cost_picousd": answer.cost_picousd,
        "citations": list(answer.citations),
        "attachments": list(answer.attachments),
    }


def _conversation(body: Mapping[str, Any]) -> ConversationId | None:
    metadata = body.get("metadata")
    given = body.get("conversation_id")
    if given is None and isinstance(metadata, dict):
        given = metadata.get("conversation_id")
    if given is None:
        return None
    known = parse_id(given) if isinstance(given, str) else None
    if known is None:
        raise NotFound
    return ConversationId(known)


def _spoken(message: object) -> tuple[str, str]:
    if not isinstance(message, dict):
        raise InvalidRequest("messages: every message is an object.")
    role, content = message.get("role"), message.get("content")
    if role not in {"system", "developer", "user", "assistant"}:
        raise InvalidRequest("messages: a role is system, developer, user or assistant.")
    if isinstance(content, list):
        content = "\n".join(_text(part) for part in content)
    if not isinstance(content, str):
        raise InvalidRequest("messages: content is a text, or a list of text parts.")
    return role, content


def _text(part: object) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    raise InvalidRequest("messages: assistants take text parts only.")


def _number(body: Mapping[str, Any], kind: Any, *names: str) -> Any:
    for name in names:
        value = body.get(name)
        if value is None:
            continue
        least, most = (1, 10_000_000) if kind is int else (0, 2)
        if isinstance(value, bool) or not isinstance(value, kind) or not least <= value <= most:
            raise InvalidRequest(f"{name}: a number from {least} to {most} is needed.")
        return value
    return None
