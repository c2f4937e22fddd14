"""What is counted, as plain values in whole units."""

from dataclasses import dataclass
from typing import Literal

Operation = Literal["chat", "embedding", "tool", "vector_search", "storage"]


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one model call, as the provider reported them or as counted here.

    Attributes:
        input_tokens: tokens of the prompt, cached ones included.
        cached_tokens: the part of the prompt the provider served from its cache.
        output_tokens: tokens produced, reasoning included.
        reasoning_tokens: the part of the output spent on hidden reasoning.
        estimated: True when counted here because the provider gave no figures.
    """

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(
            self.input_tokens + other.input_tokens,
            self.cached_tokens + other.cached_tokens,
            self.output_tokens + other.output_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.estimated or other.estimated,
        )


@dataclass(frozen=True, slots=True)
class ToolUsage:
    """One tool execution: wall time, rows and bytes it returned."""

    tool: str
    duration_ms: int
    rows: int
    size_bytes: int
