"""What a call weighs: its tokens by how much work they are, in thousandths, whole numbers only.

Weights are thousandths of a token, so that a cached token at a tenth is 100 and no sum is ever
rounded: the weight of many calls is exactly the sum of their weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Unit = Literal["tokens", "cost", "requests"]

SCALE: Mapping[Unit, int] = {"tokens": 1000, "cost": 1, "requests": 1}
"""Amounts of a unit as budgets count them: thousandths of a token, pico-USD, calls."""
ANY_MODEL = "*"


@dataclass(frozen=True, slots=True)
class Use:
    """What a call used, or may use at most.

    Attributes:
        input_tokens: tokens of the prompt, cached ones included.
        cached_tokens: the part that the provider served from its cache.
        output_tokens: tokens produced.
        tool_calls: tools executed.
        tool_ms: how long they ran together.
        cost_picousd: 1e-12 USD, as the ledger counts.
        requests: 1 for a call that was made.
    """

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    tool_calls: int = 0
    tool_ms: int = 0
    cost_picousd: int = 0
    requests: int = 1


NOTHING = Use(requests=0)
"""What a call used that was not made."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What one model's use weighs, in thousandths of a token.

    Attributes:
        input: a token of the prompt.
        cached: a token of the prompt that the provider had in its cache.
        output: a token produced: it takes a pass of the whole model, a prompt's is shared.
        tool_call: a tool executed.
        tool_second: a second of its running.
    """

    input: int = 1000
    cached: int = 100
    output: int = 4000
    tool_call: int = 200_000
    tool_second: int = 50_000

    def complexity(self, use: Use) -> int:
        """Weighted tokens of a use, in thousandths."""
        cached = min(use.cached_tokens, use.input_tokens)
        return (
            self.input * (use.input_tokens - cached)
            + self.cached * cached
            + self.output * use.output_tokens
            + self.tool_call * use.tool_calls
            # A started millisecond counts: exact for the default, rounded up for others.
            + -(-self.tool_second * use.tool_ms // 1000)
        )

    def amount(self, unit: Unit, use: Use) -> int:
        """How much of a budget in `unit` a use takes."""
        if unit == "tokens":
            return self.complexity(use)
        return use.cost_picousd if unit == "cost" else use.requests


class WeightBook:
    """The weights of every model: its own row, else its provider's `*`, else the usual ones."""

    def __init__(self, rows: Mapping[tuple[str, str], Weights] | None = None) -> None:
        self._rows = dict(rows or {})

    def replace(self, rows: Mapping[tuple[str, str], Weights]) -> None:
        """Take these rows from now on."""
        self._rows = dict(rows)

    def of(self, provider: str, model: str) -> Weights:
        """The weights of a model."""
        found = self._rows.get((provider, model)) or self._rows.get((provider, ANY_MODEL))
        return found or _USUAL


_USUAL = Weights()
