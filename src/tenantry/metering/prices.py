"""The price book (COST-3): versioned, in whole micro-dollars per million units, exact.

A price of p micro-dollars per million units is p pico-dollars per unit, so that a cost is a
product of integers with nothing to round. A version is never changed once written: an entry of
the ledger names the version it was priced by, and can be recomputed at any time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal

from tenantry.db.queries import load
from tenantry.isolation.statements import Statements
from tenantry.metering.usage import Payer, TokenUsage, ToolUsage

Unit = Literal[
    "input_token", "cached_token", "cache_write_token", "cache_write_1h_token", "audio_input_token",
    "image_token", "output_token", "reasoning_token", "audio_output_token",
    "millisecond", "row", "byte", "call",
]  # fmt: skip

PICOUSD_PER_USD = 10**12
ANY_MODEL = "*"
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)
_SQL = load("tenantry.metering")


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices of one model: micro-USD per million units, which is pico-USD per unit."""

    by_unit: Mapping[Unit, int]

    def of_tokens(self, usage: TokenUsage) -> int:
        """Cost of one call in pico-USD; a part without a price of its own costs as its whole."""
        price = self.by_unit.get
        fresh, told = price("input_token", 0), price("output_token", 0)
        written = price("cache_write_token", fresh)
        cost = price("call", 0) + usage.input_tokens * fresh + usage.output_tokens * told
        # What most calls have is kept quick: no part but what was cached, and reasoning.
        cost += usage.cached_tokens * (price("cached_token", fresh) - fresh)
        cost += usage.reasoning_tokens * (price("reasoning_token", told) - told)
        if usage.cache_write_tokens:
            kept = usage.cache_write_1h_tokens
            cost += (usage.cache_write_tokens - kept) * (written - fresh)
            cost += kept * (price("cache_write_1h_token", written) - fresh)
        if usage.audio_input_tokens or usage.audio_output_tokens or usage.image_tokens:
            cost += usage.audio_input_tokens * (price("audio_input_token", fresh) - fresh)
            cost += usage.image_tokens * (price("image_token", fresh) - fresh)
            cost += usage.audio_output_tokens * (price("audio_output_token", told) - told)
        return cost

    def of_tool(self, usage: ToolUsage) -> int:
        """Cost of one tool execution in pico-USD."""
        return (
            self.by_unit.get("call", 0)
            + usage.duration_ms * self.by_unit.get("millisecond", 0)
            + usage.rows * self.by_unit.get("row", 0)
            + usage.size_bytes * self.by_unit.get("byte", 0)
        )

    def of_storage(self, size_bytes: int, rows: int) -> int:
        """Cost in pico-USD of keeping that much for a day."""
        return size_bytes * self.by_unit.get("byte", 0) + rows * self.by_unit.get("row", 0)


_NOTHING = Rates(MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class PriceRow:
    """One line of a price book, as `tenantry.prices` stores it."""

    provider: str
    model: str
    unit: Unit
    microusd_per_million: int


@dataclass(frozen=True, slots=True)
class PriceVersion:
    """One version of the book: which prices count from when."""

    number: int
    effective_at: datetime
    rates: Mapping[tuple[str, str], Rates]

    @classmethod
    def of(cls, number: int, effective_at: datetime, rows: Iterable[PriceRow]) -> "PriceVersion":
        """The version made of these lines."""
        found: dict[tuple[str, str], dict[Unit, int]] = {}
        for row in rows:
            found.setdefault((row.provider, row.model), {})[row.unit] = row.microusd_per_million
        rates = {model: Rates(MappingProxyType(units)) for model, units in found.items()}
        return cls(number, effective_at, MappingProxyType(rates))


class PriceBook:
    """Every version of the prices, in memory; `refresh` reads those added since.

    An empty book prices nothing: use is then recorded at cost 0 and marked as unpriced.
    """

    def __init__(self, versions: Iterable[PriceVersion] = ()) -> None:
        self._versions = {version.number: version for version in versions}
        # What was in force last, from when and until when: the book changes a few times a year.
        self._in_force: tuple[datetime, datetime, int] | None = None

    async def refresh(self, statements: Statements) -> None:
        """Read the versions that are not in memory yet; any role that serves requests may."""
        rows = await statements.rows(_SQL["new_prices"], known=list(self._versions))
        added: dict[int, tuple[datetime, list[PriceRow]]] = {}
        for row in rows:
            lines = added.setdefault(row["price_version"], (row["effective_at"], []))[1]
            if row["provider"] is not None:
                lines.append(
                    PriceRow(
                        row["provider"], row["model"], row["unit"], row["microusd_per_million"]
                    )
                )
        self._in_force = None
        for number, (effective_at, lines) in added.items():
            self._versions[number] = PriceVersion.of(number, effective_at, lines)

    def version_at(self, moment: datetime) -> int:
        """The newest version in force at `moment`; 0 when there is none."""
        known = self._in_force
        if known is not None and known[0] <= moment < known[1]:
            return known[2]
        changes = sorted(version.effective_at for version in self._versions.values())
        begun = [change for change in changes if change <= moment]
        coming = [change for change in changes if change > moment]
        in_force = (v.number for v in self._versions.values() if v.effective_at <= moment)
        number = max(in_force, default=0)
        self._in_force = (
            begun[-1] if begun else _EARLIEST, coming[0] if coming else _LATEST, number
        )  # fmt: skip
        return number

    def rates(
        self, version: int, provider: str, model: str, payer: Payer = "platform"
    ) -> Rates | None:
        """The model's own prices, else the provider's `*`, else None: it is unpriced.

        What the tenant itself pays its provider costs nothing here, whatever the book says.
        """
        if payer == "tenant":
            return _NOTHING
        book = self._versions.get(version)
        if book is None:
            return None
        return book.rates.get((provider, model)) or book.rates.get((provider, ANY_MODEL))
