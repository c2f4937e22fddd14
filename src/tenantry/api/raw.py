"""What raw calls of every API share: the model's route, the provider's body, the way back."""

import re
from dataclasses import replace

from starlette.requests import Request
from starlette.types import Send

from tenantry.api.lanes import encoded, lane_of, queued
from tenantry.api.streaming import send_chunks, send_whole, while_connected
from tenantry.core.errors import InvalidRequest
from tenantry.fairness.bulkheads import Lane
from tenantry.gateway.forms import Asked
from tenantry.gateway.request import Given
from tenantry.isolation.context import TenantContext
from tenantry.platform import Platform
from tenantry.providers.surfaces import PATHS

_KEY_HEADER = "idempotency-key"
_KEY = re.compile(r"[ -~]{1,255}", re.ASCII)


def model_in(given: Given) -> str:
    """The model that is asked for.

    Raises:
        InvalidRequest: none is.
    """
    model = given.fields.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidRequest("model: the name of an assistant or of a model is needed.")
    return model


def is_raw(model: str) -> bool:
    """Whether a name is that of a provider's model; assistants' names have no slash."""
    return "/" in model


async def pass_on(
    platform: Platform, ctx: TenantContext, request: Request, asked: Asked, send: Send
) -> None:
    """Make a raw call and pass its answer on, for as long as its client is there."""
    departure = platform.gateway.departure(ctx)
    # Embedding has a lane of its own: a flood of texts takes no slot that a chat needs.
    lane: Lane = "embedding" if asked.form.operation == "embedding" else lane_of(request)
    asked = replace(asked, key=_key(request))

    async def work() -> None:
        route = await platform.providers.resolve_raw(ctx, model_in(asked.given))
        answer = await platform.gateway.call(ctx, route, asked, departure, lane)
        headers = (*queued(answer.queue_s), *encoded(answer.headers))
        if isinstance(answer.body, bytes):
            await send_whole(send, "application/json", answer.body, headers)
        else:
            await send_chunks(send, "text/event-stream", answer.body, headers)

    await while_connected(request.receive, work(), departure)


def refuse_key(request: Request) -> None:
    """Refuse an idempotency key where it would do nothing.

    Raises:
        InvalidRequest: there is one.
    """
    if _KEY_HEADER in request.headers:
        raise InvalidRequest(f"{_KEY_HEADER}: only calls to a provider's models take one.")


def _key(request: Request) -> str:
    key = request.headers.get(_KEY_HEADER, "")
    if _KEY_HEADER in request.headers and not _KEY.fullmatch(key):
        raise InvalidRequest(f"{_KEY_HEADER}: 1 to 255 printable ASCII characters are needed.")
    return key


def not_an_assistants(surface: str) -> InvalidRequest:
    """The error for an assistant that is asked where only raw models are."""
    return InvalidRequest(
        f"Assistants do not answer on {surface}; ask them on {PATHS['chat']} or "
        f"{PATHS['responses']}."
    )
