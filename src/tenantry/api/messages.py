"""`POST /v1/messages`: Anthropic's Messages API, for raw models of accounts that speak it."""

import re

from starlette.requests import Request
from starlette.types import Send

from tenantry.api.credentials import authenticate
from tenantry.api.raw import is_raw, model_in, not_an_assistants, pass_on
from tenantry.api.reading import read_object
from tenantry.core.errors import InvalidRequest
from tenantry.gateway.forms import MESSAGES, Asked
from tenantry.platform import Platform
from tenantry.providers.anthropic import API_VERSION
from tenantry.providers.surfaces import PATHS

_PASSED = ("anthropic-version", "anthropic-beta")
_WORDS = re.compile(r"[A-Za-z0-9_.,= -]{1,1000}", re.ASCII)


async def messages(platform: Platform, request: Request, send: Send) -> None:
    """Answer a message, streamed or whole."""
    ctx = await authenticate(platform, request, "chat")
    given = await read_object(platform, request, ctx)
    if not is_raw(model_in(given)):
        raise not_an_assistants(PATHS["messages"])
    headers = {"anthropic-version": API_VERSION}
    for name in _PASSED:
        value = request.headers.get(name)
        if value is not None and not _WORDS.fullmatch(value):
            raise InvalidRequest(f"{name}: this is no list of versions.")
        if value is not None:
            headers[name] = value
    await pass_on(platform, ctx, request, Asked(MESSAGES, given, headers), send)
