"""What is counted, as plain values in whole units."""

from dataclasses import dataclass, replace
from typing import Literal
from uuid import UUID

Payer = Literal["platform", "tenant"]
"""Who pays a provider; what the tenant itself pays costs nothing here (COST-4)."""

Operation = Literal["chat", "embedding", "tool", "vector_search", "storage"]

MOST_TOKENS = 1_000_000_000
"""No call uses more; a provider that reports more is not believed, and no sum can overflow."""


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

    def plausible(self) -> "TokenUsage":
        """These figures if they can be true, else the nearest that can, marked as estimated.

        A provider's report is foreign input: negative counts, absurd ones, or parts larger than
        their whole never reach the ledger, and what was mended is never called confirmed.
        """
        prompt = _within(self.input_tokens, MOST_TOKENS)
        output = _within(self.output_tokens, MOST_TOKENS)
        cached = _within(self.cached_tokens, prompt)
        reasoning = _within(self.reasoning_tokens, output)
        mended = TokenUsage(prompt, cached, output, reasoning, self.estimated)
        return mended if mended == self else replace(mended, estimated=True)

    def bounded(self, bound: "TokenUsage") -> "TokenUsage":
        """An own count, never above what the call was allowed; an unknown prompt is the bound's."""
        counted = self.plausible()
        prompt = min(counted.input_tokens or bound.input_tokens, bound.input_tokens)
        output = min(counted.output_tokens, bound.output_tokens)
        return TokenUsage(
            prompt,
            min(counted.cached_tokens, prompt),
            output,
            min(counted.reasoning_tokens, output),
            estimated=True,
        )


@dataclass(frozen=True, slots=True)
class ToolUsage:
    """One tool execution: wall time, rows and bytes it returned, the connector it reached."""

    tool: str
    duration_ms: int
    rows: int
    size_bytes: int
    connector_id: UUID | None = None


def _within(count: int, most: int) -> int:
    return max(0, min(count, most))
