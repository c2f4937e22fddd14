"""Errors as problem documents (RFC 9457). The only place that knows HTTP status codes of errors."""

import logging
import math

import orjson
from starlette.requests import Request
from starlette.responses import Response

from tenantry.core.errors import (
    AlreadyMade,
    BudgetExhausted,
    StoreUnavailable,
    TenantryError,
    TooSlow,
)
from tenantry.providers.surfaces import PATHS

_LOG = logging.getLogger("tenantry.api")
MEDIA_TYPE = "application/problem+json"
_TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    408: "Too slow",
    405: "Method not allowed",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    422: "Not processable",
    429: "Too many requests",
    500: "Internal error",
    502: "Provider error",
    503: "Temporarily unavailable",
    504: "Timed out",
}

_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "invalid_request_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def problem_body(error: TenantryError, request_id: str) -> dict[str, object]:
    """The problem document of an error, as a JSON object.

    `error` repeats it in the form that OpenAI's clients read: one body serves both.
    """
    facts = {"budget": error.facts} if isinstance(error, BudgetExhausted) else {}
    return {
        "type": f"https://tenantry.dev/problems/{error.code}",
        "title": _TITLES.get(error.http_status, "Error"),
        "status": error.http_status,
        "detail": error.message,
        "code": error.code,
        "request_id": request_id,
        **facts,
        "error": {"message": error.message, "type": error.code, "code": error.code, "param": None},
    }


def problem_headers(error: TenantryError) -> dict[str, str]:
    """Headers that go with the problem document of an error."""
    headers = {"content-type": MEDIA_TYPE, "cache-control": "no-store"}
    if error.http_status == 401:
        headers["www-authenticate"] = "Bearer"
    if error.retryable or error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s or 2)))
    if isinstance(error, TooSlow):
        headers["connection"] = "close"  # the rest of the body is not waited for
    if isinstance(error, AlreadyMade):
        headers["x-should-retry"] = "false"  # clients of both providers' repeat a 409 by themselves
    if isinstance(error, BudgetExhausted):
        headers |= error.headers
    return headers


def problem(error: TenantryError, request_id: str, path: str = "") -> Response:
    """The response to an error, in the form that clients of that path read."""
    body, headers = problem_body(error, request_id), problem_headers(error)
    if path == PATHS["messages"]:
        # Anthropic's clients look for another `type`, and for no other media type.
        kind = _ANTHROPIC_TYPES.get(error.http_status, "api_error")
        body |= {"type": "error", "error": {"type": kind, "message": error.message}}
        headers["content-type"] = "application/json"
    return Response(orjson.dumps(body), status_code=error.http_status, headers=headers)


def unexpected(error: Exception, request_id: str) -> TenantryError:
    """What a caller is told of an error that is none of ours; the log keeps the rest."""
    if isinstance(error, OSError):
        return StoreUnavailable()
    _LOG.error("unexpected_error", exc_info=error, extra={"request_id": request_id})
    return TenantryError()


def request_id_of(request: Request) -> str:
    """The id that the server gave this request."""
    return str(request.scope["state"]["request_id"])
