"""Tokens counted here: what a call can use at most, and what it has used when nobody says.

- At most: a byte-level tokenizer never makes more tokens than UTF-8 bytes. A tokenizer that first
  normalises its input can, for rare characters; the ledger then keeps the provider's own figure.
- Surely: each delta of a stream carries a token or more, unless the provider cuts smaller than
  tokens; and four bytes a token is what English and code come to. The smaller of the two is noted
  while a call runs, and stands when it is cut off: never more than what had streamed.
- Likely: four bytes a token, for a whole answer that came without figures.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tenantry.metering.usage import TokenUsage
from tenantry.providers.base import ChatRequest, ToolCall

_BYTES_PER_TOKEN = 4
_LONGEST_TOKEN = 128  # bytes; the longest of the large vocabularies are runs of 128 spaces
_TOKENS_PER_REQUEST = 64
_TOKENS_PER_MESSAGE = 16  # role, name and separators of a chat template
_TOKENS_PER_TOOL = 32


def most_tokens(request: ChatRequest) -> TokenUsage:
    """An upper bound of what a call can use: its prompt in bytes, and the output it is allowed."""
    prompt = _prompt_bytes(request) + _overhead(request)
    return TokenUsage(input_tokens=prompt, output_tokens=request.max_output_tokens)


def likely_prompt_tokens(request: ChatRequest) -> int:
    """An estimate of the prompt's tokens, for a provider that gives no figures."""
    return _tokens(_prompt_bytes(request)) + _TOKENS_PER_MESSAGE * len(request.messages) // 4


@dataclass(slots=True)
class OutputCount:
    """Counts what a call streams.

    Attributes:
        deltas: pieces of text received.
        size_bytes: their UTF-8 bytes.
    """

    deltas: int = 0
    size_bytes: int = 0

    def add(self, text: str) -> None:
        """Count a delta."""
        if text:
            self.deltas += 1
            self.size_bytes += _size(text)

    @property
    def surely(self) -> int:
        """Tokens that have been produced for what came, at least."""
        return min(self.deltas, _tokens(self.size_bytes))

    def likely(self, calls: Sequence[ToolCall] = ()) -> int:
        """An estimate of the tokens of a whole answer, tool calls included."""
        asked = sum(_size(call.name) + _size(call.arguments) for call in calls)
        return _tokens(self.size_bytes + asked)

    def contradicts(self, reported: TokenUsage) -> bool:
        """Whether so few reported tokens cannot be what was received, or no prompt was read."""
        return (
            reported.input_tokens < 1 or reported.output_tokens * _LONGEST_TOKEN < self.size_bytes
        )


def _prompt_bytes(request: ChatRequest) -> int:
    size = sum(
        _size(message.content)
        + _size(message.tool_call_id)
        + sum(_size(c.id) + _size(c.name) + _size(c.arguments) for c in message.tool_calls)
        for message in request.messages
    )
    specs = (_size(json.dumps([t.name, t.description, t.parameters])) for t in request.tools)
    return size + sum(specs)


def _overhead(request: ChatRequest) -> int:
    return (
        _TOKENS_PER_REQUEST
        + _TOKENS_PER_MESSAGE * len(request.messages)
        + _TOKENS_PER_TOOL * len(request.tools)
    )


def _tokens(size_bytes: int) -> int:
    return -(-size_bytes // _BYTES_PER_TOKEN)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
