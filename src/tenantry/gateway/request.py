"""Reads what must be known of a raw request, and changes only what must be changed.

Unknown fields go through as they came. Three are written: the provider's own model name, the
output bound (which is what makes the reservation an upper bound), and the wish for usage figures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from tenantry.core.errors import InvalidRequest
from tenantry.metering.usage import TokenUsage

_OVERHEAD_TOKENS = 64
"""Tokens a provider may add around a prompt: role markers, the start of the answer."""
_MESSAGE_TOKENS = 16
_MOST_CHOICES = 16
_LIMITS = ("max_completion_tokens", "max_tokens")


@dataclass(frozen=True, slots=True)
class RawRequest:
    """A chat or embeddings request as it will be sent.

    Attributes:
        body: JSON for the provider.
        stream: whether the answer is to be streamed.
        wants_usage: whether the client itself asked for the usage event of a stream.
        bound: the most the call can use.
        messages: the prompt's messages, for the manifest.
    """

    body: bytes = field(repr=False)
    stream: bool
    wants_usage: bool
    bound: TokenUsage
    messages: tuple[Mapping[str, Any], ...] = field(repr=False)


def chat_request(
    given: Mapping[str, Any], upstream_model: str, max_output_tokens: int, limit_field: str
) -> RawRequest:
    """The request for the provider.

    Args:
        given: the client's body.
        upstream_model: the provider's own name of the model.
        max_output_tokens: the most the model can produce; a smaller wish of the client's holds.
        limit_field: what this provider calls the output bound.

    Raises:
        InvalidRequest: `messages`, `n`, `stream` or an output bound is not what it must be.
    """
    messages = given.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest("messages: a list with at least one message is needed.")
    if not all(isinstance(message, dict) for message in messages):
        raise InvalidRequest("messages: every message is an object.")
    choices = _whole(given, "n", 1, _MOST_CHOICES) or 1
    wishes = [_whole(given, name, 1, 10_000_000) for name in _LIMITS]
    limit = min([max_output_tokens, *(wish for wish in wishes if wish is not None)])
    body = {name: value for name, value in given.items() if name not in _LIMITS}
    body |= {"model": upstream_model, limit_field: limit}
    options = given.get("stream_options")
    stream = bool(given.get("stream", False))
    wants_usage = isinstance(options, dict) and bool(options.get("include_usage"))
    if stream:
        known = options if isinstance(options, dict) else {}
        body["stream_options"] = {**known, "include_usage": True}
    encoded = orjson.dumps(body)
    # A byte-level tokenizer never makes more tokens than there are bytes.
    prompt = len(encoded) + _OVERHEAD_TOKENS + _MESSAGE_TOKENS * len(messages)
    bound = TokenUsage(input_tokens=prompt, output_tokens=limit * choices)
    return RawRequest(encoded, stream, wants_usage, bound, tuple(messages))


def embeddings_request(given: Mapping[str, Any], upstream_model: str) -> RawRequest:
    """The embeddings request for the provider.

    Raises:
        InvalidRequest: there is no input.
    """
    if not given.get("input"):
        raise InvalidRequest("input: a text or a list of texts is needed.")
    encoded = orjson.dumps({**given, "model": upstream_model})
    bound = TokenUsage(input_tokens=len(encoded) + _OVERHEAD_TOKENS)
    return RawRequest(encoded, False, False, bound, ({"content": given["input"]},))


def _whole(given: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidRequest(f"{name}: a whole number from {least} to {most} is needed.")
    return value
