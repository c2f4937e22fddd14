"""CSV of the ledger (COST-5, RFC 4180): one line a row, money exact, safe in a spreadsheet."""

import csv
import io
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

from tenantry.metering.prices import PICOUSD_PER_USD

COLUMNS = (
    "at", "call_id", "kind", "part", "operation", "actor", "request_id", "assistant_id",
    "provider", "model", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens",
    "duration_ms", "row_count", "size_bytes", "calls", "billed_usd", "price_version", "priced",
    "confirmed", "upstream_id", "connector_id", "account", "payer", "cache_write_tokens",
    "cache_write_1h_tokens", "audio_input_tokens", "audio_output_tokens", "image_tokens",
)  # fmt: skip
"""`billed_usd` adds up to the total: it is 0 for intents and progress, which bill nothing."""

_BILLED = frozenset({"settled", "swept", "recorded", "reconciled"})
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def usd(picousd: int) -> str:
    """Pico-dollars as dollars, exact, without trailing zeros: `0.0003`, `-1.5`, `0`."""
    dollars, rest = divmod(abs(picousd), PICOUSD_PER_USD)
    fraction = f"{rest:012d}".rstrip("0")
    return f"{'-' if picousd < 0 else ''}{dollars}{'.' if fraction else ''}{fraction}"


async def csv_lines(events: AsyncIterator[Mapping[str, Any]]) -> AsyncIterator[str]:
    """The CSV text of ledger rows, line by line, the header first."""
    yield _line(COLUMNS)
    async for event in events:
        yield _line([_cell(event, column) for column in COLUMNS])


def _cell(event: Mapping[str, Any], column: str) -> object:
    if column == "billed_usd":
        return usd(event["cost_picousd"]) if event["kind"] in _BILLED else "0"
    value = event[column]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, bool):
        return "true" if value else "false"
    # Text may come from a tenant or a provider, and a spreadsheet must not run it (OWASP: CSV
    # injection).
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value


def _line(cells: object) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(cells)  # type: ignore[arg-type]  # a sequence of cells
    return buffer.getvalue()
