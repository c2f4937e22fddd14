"""`POST /v1/responses`: an assistant of the tenant, or a provider's model by its raw name.

What a member asks of an assistant is turned into a chat completion's words; its answer is told in
the Responses API's events. Source: OpenAI's API reference, "Responses".
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.types import Send

from tenantry.agent.events import AgentEvent, Answer
from tenantry.api.credentials import authenticate
from tenantry.api.lanes import lane_of
from tenantry.api.problems import problem_body
from tenantry.api.raw import is_raw, model_in, pass_on, refuse_key
from tenantry.api.reading import read_object
from tenantry.api.response_frame import ResponseFrame
from tenantry.api.streaming import send_chunks, send_json, while_connected
from tenantry.api.turns import turn_request
from tenantry.core.errors import InvalidRequest, TenantryError
from tenantry.fairness.bulkheads import Lane
from tenantry.gateway.forms import RESPONSES, Asked
from tenantry.isolation.context import TenantContext
from tenantry.platform import Platform
from tenantry.providers.base import TextDelta

_NOT_TAKEN = ("previous_response_id", "prompt", "background")
_TEXT_PARTS = frozenset({"input_text", "output_text", "text"})
_KEPT_NAMES = ("model", "tools", "temperature", "metadata", "conversation_id")


async def responses(platform: Platform, request: Request, send: Send) -> None:
    """Answer a request to the Responses API, streamed or whole."""
    ctx = await authenticate(platform, request, "chat")
    given = await read_object(platform, request, ctx)
    if is_raw(model_in(given)):
        await pass_on(platform, ctx, request, Asked(RESPONSES, given), send)
        return
    refuse_key(request)
    lane = lane_of(request)
    await while_connected(request.receive, _ask(platform, ctx, given.fields, lane, send))


async def _ask(
    platform: Platform, ctx: TenantContext, body: Mapping[str, Any], lane: Lane, send: Send
) -> None:
    turn = turn_request(as_chat(body), lane)
    created = int(platform.clock.now().timestamp())
    frame = ResponseFrame(ctx.request_id, created, turn.opening.assistant)
    events = platform.agent.run(ctx, turn)
    if body.get("stream"):
        await send_chunks(send, "text/event-stream", _stream(frame, events))
        return
    async with aclosing(events):
        async for happened in events:
            if isinstance(happened, Answer):
                await send_json(send, 200, frame.whole(happened))


async def _stream(
    frame: ResponseFrame, events: AsyncGenerator[AgentEvent, None]
) -> AsyncGenerator[bytes, None]:
    begun = False
    try:
        async with aclosing(events):
            async for happened in events:
                if not begun:
                    yield frame.begun()
                    begun = True
                if isinstance(happened, TextDelta):
                    yield frame.delta(happened.text)
                elif isinstance(happened, Answer):
                    yield frame.ended(happened)
    except TenantryError as error:
        if not begun:
            raise
        yield frame.failed(problem_body(error, frame.request_id))


def as_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """The same request as a chat completion.

    Raises:
        InvalidRequest: it asks for what assistants do not do.
    """
    for name in _NOT_TAKEN:
        if body.get(name):
            raise InvalidRequest(f"{name}: assistants do not take this; name a conversation.")
    wanted = body.get("text") or {}
    if not isinstance(wanted, dict) or (wanted.get("format") or {"type": "text"}) != {
        "type": "text"
    }:
        raise InvalidRequest("text: assistants answer in plain text.")
    asked = {name: body[name] for name in _KEPT_NAMES if name in body}
    conversation = body.get("conversation")
    if conversation is not None:
        is_named = isinstance(conversation, dict)
        asked["conversation_id"] = conversation.get("id") if is_named else conversation
    return asked | {
        "messages": [*_instructions(body.get("instructions")), *_input(body.get("input"))],
        "max_completion_tokens": body.get("max_output_tokens"),
    }


def _instructions(given: object) -> list[dict[str, Any]]:
    if given is None:
        return []
    if not isinstance(given, str):
        raise InvalidRequest("instructions: a text is needed.")
    return [{"role": "system", "content": given}]


def _input(given: object) -> list[dict[str, Any]]:
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if not isinstance(given, list):
        raise InvalidRequest("input: a text or a list of messages is needed.")
    return [_message(item) for item in given]


def _message(item: object) -> dict[str, Any]:
    if not isinstance(item, dict) or item.get("type", "message") != "message":
        raise InvalidRequest("input: assistants take messages only.")
    content = item.get("content")
    if isinstance(content, list):
        content = [_part(part) for part in content]
    return {"role": item.get("role"), "content": content}


def _part(part: object) -> object:
    if isinstance(part, dict) and part.get("type") in _TEXT_PARTS:
        return {"type": "text", "text": part.get("text")}
    return part
