"""What a scripted provider is told to answer, and how it counts."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Fault = Literal[
    "cut",  # the connection breaks after `fault_after` tokens
    "no_end",  # the stream ends well-formed, but without a reason and without a last event
    "garbage",  # an event that is not JSON after `fault_after` tokens
    "wrong_shape",  # valid JSON of the wrong types after `fault_after` tokens
    "error_event",  # the provider reports a failure inside the stream after `fault_after` tokens
    "huge_event",  # one event of several megabytes
    "endless",  # tokens without end
    "drip",  # one byte at a time, never completing an event
    "comments",  # comments that keep the connection alive, and nothing else
    "stall",  # nothing more after `fault_after` tokens, with the connection open
    "silent",  # no answer at all, not even headers
    "hang_up",  # the connection is closed before any answer
    "not_http",  # bytes that are not HTTP
    "html",  # status 200, and a page instead of an answer
]

COUNTED: Mapping[str, Any] = {"counted": True}
"""Marks a usage that the server fills in with what it counted itself."""

_TOKEN = re.compile(r"\S+\s*|\s+")


def tokens_of(text: str) -> list[str]:
    """The pieces that this provider calls tokens: a word with the space behind it."""
    return _TOKEN.findall(text)


@dataclass(frozen=True)
class CallOf:
    """A tool call to emit; `arguments` is the raw text, so that it may be invalid JSON."""

    name: str
    arguments: str = "{}"
    id: str = ""


@dataclass(frozen=True)
class Reply:
    """One answer of the provider.

    Attributes:
        text: what it says.
        calls: tools it calls.
        usage: `COUNTED`, None to leave it out, or any object to report instead (a lie).
        cached: tokens of the prompt it claims to have cached.
        reasoning: hidden tokens it claims to have spent, added to the output.
        status: an HTTP status other than 200 refuses the call.
        error: the body of a refusal.
        headers: extra response headers.
        latency_s: seconds before the response's headers.
        token_s: seconds between tokens.
        fault: how it misbehaves.
        fault_after: tokens sent before it does.
        obey_bound: False ignores `max_tokens`.
        newline: the line end of its events.
        piece: bytes of one write to the socket; 0 writes an event at a time.
        finish: a reason to report instead of the right one.
    """

    text: str = ""
    calls: tuple[CallOf, ...] = ()
    usage: Any = field(default_factory=lambda: COUNTED)
    cached: int = 0
    reasoning: int = 0
    status: int = 200
    error: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    latency_s: float = 0.0
    token_s: float = 0.0
    fault: Fault | None = None
    fault_after: int = 2
    obey_bound: bool = True
    newline: str = "\n"
    piece: int = 0
    finish: str | None = None


def refusing(status: int, message: str = "refused", **headers: str) -> Reply:
    """A refusal with a body as providers send them."""
    error = {"error": {"message": message, "type": "server_error", "code": None}}
    return Reply(status=status, error=error, headers=headers)


@dataclass
class ProviderCall:
    """One request as the provider saw it, and what it sent back: the other side of the ledger.

    Attributes:
        number: position among all calls, from 1.
        path: what was asked for.
        headers: names in lower case.
        body: parsed JSON.
        raw: the same as it came.
        prompt_tokens: tokens of every text in the prompt, as this provider counts.
        streamed_tokens: tokens written to the socket.
        reported: the usage object that was sent, if any.
        port: the client's, by which connections can be told apart.
        began_s: when it came, by a clock that only runs forward.
        outcome: `open` until it is `finished`, `refused`, `faulted` or `disconnected`.
    """

    number: int
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    raw: bytes = b""
    prompt_tokens: int = 0
    streamed_tokens: int = 0
    reported: Any = None
    port: int = 0
    began_s: float = field(default_factory=time.monotonic)
    outcome: str = "open"

    @property
    def request_id(self) -> str:
        """The caller's id of the call, or empty."""
        return self.headers.get("x-client-request-id", "") or self.headers.get("x-request-id", "")

    @property
    def model(self) -> str:
        """The model that was asked for."""
        return str(self.body.get("model", ""))

    @property
    def prompt(self) -> list[str]:
        """Every text of the request, in order, whatever the form."""
        return texts_in(self.body)


Responder = Callable[[ProviderCall], Reply]


def texts_in(value: Any) -> list[str]:
    """Every string inside a JSON value, keys included, in order."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for key, item in value.items() for text in (key, *texts_in(item))]
    if isinstance(value, list | tuple):
        return [text for item in value for text in texts_in(item)]
    return []
