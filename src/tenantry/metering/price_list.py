"""Price lists: the one shipped with the package, and an operator's own, published as versions.

    {"name": …, "as_of": "2026-11-20", "note": …,
     "microusd_per_million": {"<provider>": {"<model or *>": {"<unit>": 250000}}}}

Prices are whole micro-dollars per million units; anything else is refused, never rounded.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import Any, get_args

from tenantry.core.errors import InvalidRequest
from tenantry.db.queries import load
from tenantry.isolation.statements import RoleDatabase, Statements
from tenantry.metering.prices import PriceRow, Unit

SHIPPED = "Tenantry price book"
"""Name of the shipped list; versions whose note begins with it may be followed by a newer one."""

MOST_MICROUSD = 4_000_000_000
"""4,000 USD per million units: the ceiling of the table, which keeps costs inside 64 bits."""

_SQL = load("tenantry.metering")
_UNITS = frozenset(get_args(Unit))


@dataclass(frozen=True, slots=True)
class PriceList:
    """Prices with a name and the date from which they count."""

    name: str
    effective_at: datetime
    note: str
    rows: tuple[PriceRow, ...]

    @property
    def title(self) -> str:
        """Identifies this edition: a list of the same title is published once."""
        return f"{self.name} {self.effective_at:%Y-%m-%d}"


def parse_price_list(text: str) -> PriceList:
    """The list written in `text`.

    Raises:
        InvalidRequest: it is not in the form above; the message says where.
    """
    try:
        content: Any = json.loads(text)
        effective_at = datetime.fromisoformat(content["as_of"]).replace(tzinfo=UTC)
        name, note, prices = content["name"], content["note"], content["microusd_per_million"]
        rows = tuple(
            _row(provider, model, unit, price)
            for provider, models in prices.items()
            for model, units in models.items()
            for unit, price in units.items()
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidRequest(f"Not a price list: {error}.") from error
    if not isinstance(name, str) or not isinstance(note, str) or not name or not rows:
        raise InvalidRequest("A price list needs a name, a note and at least one price.")
    return PriceList(name, effective_at, note, rows)


def shipped_price_list() -> PriceList:
    """The list that comes with the package; its sources are in docs/metering.md."""
    file = resources.files("tenantry.metering").joinpath("price_book.json")
    return parse_price_list(file.read_text(encoding="utf-8"))


async def install_default_prices(operator: RoleDatabase) -> int | None:
    """Publish the shipped list; the new version's number, or None when nothing is to be done.

    Nothing is done when this edition is there, or when an operator published prices of their
    own: an upgrade never replaces those. Safe to run at every migration, by several at once.
    """
    prices = shipped_price_list()
    async with operator.transaction() as statements:
        await statements.execute(_SQL["lock_price_book"])
        notes = [row["note"] for row in await statements.rows(_SQL["price_versions"])]
        if any(note.startswith(prices.title) or not note.startswith(SHIPPED) for note in notes):
            return None
        return await _publish(statements, prices)


async def publish_prices(operator: RoleDatabase, prices: PriceList) -> int:
    """Add an operator's list as the newest version, in force from its date; its number.

    Running servers take it up at their next `PriceBook.refresh`; what was recorded keeps the
    price it was recorded by.

    Raises:
        InvalidRequest: it claims to be the shipped list.
    """
    if prices.name.startswith(SHIPPED):
        raise InvalidRequest(f"Give the list a name of its own: '{SHIPPED}' is the shipped one.")
    async with operator.transaction() as statements:
        await statements.execute(_SQL["lock_price_book"])
        return await _publish(statements, prices)


async def _publish(statements: Statements, prices: PriceList) -> int:
    version = int(
        await statements.value(
            _SQL["add_price_version"],
            effective_at=prices.effective_at,
            note=f"{prices.title}: {prices.note}",
        )
    )
    await statements.execute_many(
        _SQL["add_price"],
        [
            {
                "price_version": version,
                "provider": row.provider,
                "model": row.model,
                "unit": row.unit,
                "microusd_per_million": row.microusd_per_million,
            }
            for row in prices.rows
        ],
    )
    return version


def _row(provider: object, model: object, unit: Any, price: object) -> PriceRow:
    where = f"{provider}/{model} {unit}"
    if not isinstance(provider, str) or not isinstance(model, str) or not provider or not model:
        raise ValueError(f"{where} is not a provider and a model")
    if unit not in _UNITS:
        raise ValueError(f"{where} is not one of {', '.join(sorted(_UNITS))}")
    # bool is an int to Python, and a float is never money.
    if type(price) is not int or not 0 <= price <= MOST_MICROUSD:
        raise ValueError(f"{where} is not a whole number from 0 to {MOST_MICROUSD}")
    return PriceRow(provider, model, unit, price)
