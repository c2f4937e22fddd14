"""What calls to every provider share: attempts, refusals, the events of a streamed answer.

Threat: a provider's error text carries a key or another customer's words; a retry bills twice.
Invariant: no text of a refusal is passed on, only its status and codes known here; a call is
repeated only when the provider said that it failed, or when it was never sent.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from tenantry.core.errors import (
    CredentialRefused,
    EgressRefused,
    InvalidRequest,
    ProviderError,
    ProviderMalformed,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)
from tenantry.providers.base import ChatRequest
from tenantry.providers.connecting import Unreached
from tenantry.providers.sse import SseEvent, SseParser
from tenantry.providers.upstream import Patience, Upstream, UpstreamResponse

MOST_ANSWER_BYTES = 32 << 20
_GRACE_S = 0.2
"""Seconds for the end of the body to follow the last event, so that the connection can be kept."""
_MOST_REFUSAL_BYTES = 64 << 10
_TRY_AGAIN = frozenset({408, 425, 429})
_TOO_MUCH = frozenset({429, 503, 529})
_REQUEST_AT_FAULT = frozenset({400, 404, 413, 415, 422})
_KNOWN_CODES = frozenset(
    {
        "authentication_error", "billing_error", "context_length_exceeded",
        "content_policy_violation", "insufficient_quota", "invalid_api_key",
        "invalid_argument", "invalid_request_error", "model_not_found", "not_found_error",
        "overloaded_error", "permission_denied", "permission_error", "rate_limit_error",
        "rate_limit_exceeded", "request_too_large", "resource_exhausted", "server_error",
        "unavailable", "unsupported_parameter", "unsupported_value",
    }
)  # fmt: skip


class RequestRejected(ProviderRejected):
    """The model provider refused what was sent, not who sent it."""


class Overloaded(ProviderUnavailable):
    """The model provider takes no more calls just now (429, 503, 529)."""


class BrokenOff(ProviderUnavailable):
    """The model provider broke off its answer."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a failed call is tried, and how long is waited in between.

    Attributes:
        attempts: calls in all, the first included.
        base_s: the first wait, in seconds; each further one is twice as long.
        most_s: the longest wait; a provider that asks for more by `Retry-After` is not waited for.
    """

    attempts: int = 3
    base_s: float = 0.25
    most_s: float = 4.0

    def wait_s(self, attempt: int, asked_s: float = 0.0) -> float:
        """Seconds to wait after the given attempt (from 1), half of it by chance."""
        planned = self.base_s * 2.0 ** (attempt - 1)
        chance = 0.5 + secrets.randbelow(1001) / 2000
        return max(asked_s, min(self.most_s, planned * chance))


@dataclass(frozen=True, slots=True)
class Call:
    """One call to a provider.

    Attributes:
        path: below the account's base URL.
        body: JSON.
        retry: how often it may be tried.
        patience: how long an event of its answer may take.
        headers: besides those of the account.
    """

    path: str
    body: bytes = field(repr=False)
    retry: Retry = field(default_factory=Retry)
    patience: Patience = field(default_factory=Patience)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Attempt:
    """Whether a provider may be working on a call just now, or may have before it failed."""

    is_out: bool = False


async def open_call(
    upstream: Upstream, call: Call, attempt_now: Attempt | None = None
) -> UpstreamResponse:
    """The answer to a call that the provider accepted (HTTP 200); its body is still to be read.

    Args:
        upstream: the account's way out.
        call: what to send.
        attempt_now: kept true meanwhile, for whoever must know how a call ended that raised.

    Raises:
        ProviderUnavailable: no connection, 429 or 5xx, also at the last attempt.
        ProviderTimeout: no answer in time.
        ProviderRejected: any other status.
        EgressRefused: the address may not be reached; nothing was sent.
    """
    now = attempt_now or Attempt()
    for attempt in range(1, call.retry.attempts + 1):
        now.is_out = True
        try:
            response = await upstream.open(call.path, call.body, call.headers)
        except EgressRefused:
            now.is_out = False
            raise
        except Unreached:
            now.is_out = False
            if attempt == call.retry.attempts:
                raise
            await asyncio.sleep(call.retry.wait_s(attempt))
            continue
        if response.status == 200:
            return response
        refused = await _refusal(response)
        now.is_out = False
        asked_s = _retry_after(response)
        refused.retry_after_s = asked_s or None
        if not refused.retryable or attempt == call.retry.attempts or asked_s > call.retry.most_s:
            raise refused
        await asyncio.sleep(call.retry.wait_s(attempt, asked_s))
    raise ProviderUnavailable


async def read_answer(upstream: Upstream, call: Call) -> dict[str, Any]:
    """The JSON object that a call without streaming gives.

    Raises:
        ProviderError: see `open_call`; `ProviderMalformed` when the body is not a JSON object.
    """
    response = await open_call(upstream, call)
    return json_object(await _whole_body(response, MOST_ANSWER_BYTES))


async def stream_events(
    upstream: Upstream, call: Call, is_last: Callable[[SseEvent], bool]
) -> AsyncGenerator[SseEvent, None]:
    """The events of a streamed answer; closing the iterator drops the connection.

    Time is counted between whole events: bytes that trickle in without completing one, and
    comments that only keep a connection alive, do not buy the provider more. Nothing after the
    event that `is_last` names is passed on; the connection is kept when the body ends there.

    Raises:
        ProviderError: see `open_call`; `ProviderTimeout` when an event takes too long,
            `ProviderMalformed` when the answer is cut short or too large.
    """
    response = await open_call(upstream, call)
    wait = call.patience.first_s
    try:
        events = _events(response.chunks)
        async with aclosing(events):
            while (event := await _next_event(events, wait)) is not None:
                if is_last(event):
                    with suppress(ProviderError):
                        await _next_event(events, _GRACE_S)
                    yield event
                    return
                yield event
                wait = call.patience.idle_s
    finally:
        response.close()


def call_headers(request: ChatRequest) -> dict[str, str]:
    """Our id of the call, under the name that OpenAI logs and others ignore."""
    return {"x-client-request-id": request.call_id} if request.call_id else {}


def encoded(body: Mapping[str, Any]) -> bytes:
    """`body` as JSON.

    Raises:
        InvalidRequest: it holds text that is not valid Unicode, such as half a surrogate pair.
    """
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError as error:
        raise InvalidRequest("The prompt holds text that is not valid Unicode.") from error


def json_object(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`.

    Raises:
        ProviderMalformed: it is anything else.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ProviderMalformed from error
    if not isinstance(value, dict):
        raise ProviderMalformed
    return value


def refusal(status: int, body: bytes) -> ProviderError:
    """The error that a status other than 200 stands for; no text of the body is passed on."""
    code = _known_code(body)
    told = f"HTTP {status}, {code}" if code else f"HTTP {status}"
    if status in _TOO_MUCH:
        return Overloaded(f"The model provider cannot answer just now ({told}).")
    if status in _TRY_AGAIN or status >= 500:
        return ProviderUnavailable(f"The model provider cannot answer just now ({told}).")
    if status in _REQUEST_AT_FAULT:
        return RequestRejected(f"The model provider refused the request ({told}).")
    if status in {401, 403}:
        return CredentialRefused(f"The model provider refused the account's credential ({told}).")
    return ProviderRejected(f"The model provider refused the request ({told}).")


def broken_off(error: object) -> ProviderError:
    """The error for a failure that a provider reports inside its stream."""
    code = _code_in({"error": error})
    told = f" ({code})" if code else ""
    return BrokenOff(f"The model provider broke off its answer{told}.")


async def _refusal(response: UpstreamResponse) -> ProviderError:
    try:
        body = await _whole_body(response, _MOST_REFUSAL_BYTES)
    except ProviderError:
        body = b""  # the status alone says enough
    return refusal(response.status, body)


async def _whole_body(response: UpstreamResponse, most_bytes: int) -> bytes:
    body = bytearray()
    try:
        async for chunk in response.chunks:
            body += chunk
            if len(body) > most_bytes:
                raise ProviderMalformed("The model provider sent an answer that is too large.")
    finally:
        response.close()
    return bytes(body)


async def _events(chunks: AsyncIterator[bytes]) -> AsyncGenerator[SseEvent, None]:
    parser, size = SseParser(), 0
    async for chunk in chunks:
        size += len(chunk)
        if size > MOST_ANSWER_BYTES:
            raise ProviderMalformed("The model provider sent an answer that is too large.")
        for event in parser.feed(chunk):
            yield event
    for event in parser.close():
        yield event


async def _next_event(events: AsyncIterator[SseEvent], wait_s: float) -> SseEvent | None:
    try:
        async with asyncio.timeout(wait_s):
            return await anext(events, None)
    except TimeoutError as error:
        raise ProviderTimeout from error


def _retry_after(response: UpstreamResponse) -> float:
    """Seconds that the provider asks to be left alone for; 0 when it does not say."""
    asked = response.headers.get("retry-after", "")
    if asked.isascii() and asked.isdigit() and len(asked) < 6:
        return float(asked)
    try:
        # By the provider's own clock: ours may differ.
        told = parsedate_to_datetime(response.headers.get("date", ""))
        left = parsedate_to_datetime(asked) - told
    except (ValueError, TypeError):
        return 0.0
    return min(max(0.0, left.total_seconds()), 99_999.0)


def _known_code(body: bytes) -> str:
    try:
        return _code_in(orjson.loads(body))
    except orjson.JSONDecodeError:
        return ""


def _code_in(value: object) -> str:
    # Only codes from our own list: a "code" may be any text, a key included.
    error = value.get("error") if isinstance(value, dict) else None
    if not isinstance(error, dict):
        return ""
    for name in ("code", "type", "status"):
        code = str(error.get(name, "")).lower()
        if code in _KNOWN_CODES:
            return code
    return ""
