"""What is counted, as plain values in whole units."""

from dataclasses import dataclass, fields, replace
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
        input_tokens: tokens of the prompt, every part of it included.
        cached_tokens: the part of the prompt the provider served from its cache.
        output_tokens: tokens produced, reasoning included.
        reasoning_tokens: the part of the output spent on hidden reasoning.
        estimated: True when counted here because the provider gave no figures.
        cache_write_tokens: the part of the prompt that the provider put into its cache.
        cache_write_1h_tokens: the part of that which it keeps for an hour.
        audio_input_tokens: the part of the prompt that was sound.
        image_tokens: the part of the prompt that was pictures.
        audio_output_tokens: the part of the output that was sound.
    """

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    audio_input_tokens: int = 0
    image_tokens: int = 0
    audio_output_tokens: int = 0

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        counts = {name: getattr(self, name) + getattr(other, name) for name in COUNTS}
        return TokenUsage(**counts, estimated=self.estimated or other.estimated)

    def plausible(self) -> "TokenUsage":
        """These figures if they can be true, else the nearest that can, marked as estimated.

        A provider's report is foreign input: negative counts, absurd ones, or parts larger than
        their whole never reach the ledger, and what was mended is never called confirmed.
        """
        if self._is_plain:
            return self
        mended = self._within(MOST_TOKENS, MOST_TOKENS)
        return mended if mended == self else replace(mended, estimated=True)

    def bounded(self, bound: "TokenUsage") -> "TokenUsage":
        """An own count, never above what the call was allowed; an unknown prompt is the bound's."""
        counted = self.plausible()
        known = replace(counted, input_tokens=counted.input_tokens or bound.input_tokens)
        return replace(known._within(bound.input_tokens, bound.output_tokens), estimated=True)

    @property
    def _is_plain(self) -> bool:
        """Whether these are sizes of prompt and output alone, and can be true."""
        return (
            0 <= self.cached_tokens <= self.input_tokens <= MOST_TOKENS
            and 0 <= self.reasoning_tokens <= self.output_tokens <= MOST_TOKENS
            and not (
                self.cache_write_tokens
                or self.cache_write_1h_tokens
                or self.audio_input_tokens
                or self.image_tokens
                or self.audio_output_tokens
            )
        )

    def _within(self, most_input: int, most_output: int) -> "TokenUsage":
        prompt = _within(self.input_tokens, most_input)
        output = _within(self.output_tokens, most_output)
        left, parts = prompt, []
        for part in (
            self.cached_tokens, self.cache_write_tokens, self.audio_input_tokens, self.image_tokens
        ):  # fmt: skip
            parts.append(_within(part, left))
            left -= parts[-1]
        reasoning = _within(self.reasoning_tokens, output)
        return TokenUsage(
            prompt,
            parts[0],
            output,
            reasoning,
            self.estimated,
            parts[1],
            _within(self.cache_write_1h_tokens, parts[1]),
            parts[2],
            parts[3],
            _within(self.audio_output_tokens, output - reasoning),
        )


COUNTS = tuple(each.name for each in fields(TokenUsage) if each.name != "estimated")
"""Names of the counts; columns of the ledger are named the same."""


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
