"""Reconciliation: bringing entries to a provider's own export (COST-3).

The export is CSV with a header line; more columns do no harm:

    call_id          our id of the call, where it was sent upstream, or
    upstream_id      the provider's id of the request; one of the two columns is required
    input_tokens     of the prompt, cached ones included
    output_tokens    reasoning included
    cached_tokens, cache_write_tokens, cache_write_1h_tokens, audio_input_tokens, image_tokens,
    reasoning_tokens, audio_output_tokens: parts of these, optional

An export may be said to be complete for one of the platform's accounts and a period: then calls of
ours that are not in it were not billed, and those that rest on our own count alone become nothing.

Every bad line is reported with its number, and then nothing at all is applied. Corrections are
`reconciled` rows (`entries.confirm`), so a second run of the same file changes nothing.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from tenantry.core.errors import InvalidRequest
from tenantry.core.ids import CallId, TenantId, parse_id
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.statements import RoleDatabase
from tenantry.isolation.transaction import Database, Transaction
from tenantry.metering.entries import confirm
from tenantry.metering.prices import PriceBook
from tenantry.metering.usage import COUNTS, TokenUsage

Status = Literal["corrected", "unchanged", "open", "unknown", "ambiguous", "unsure", "missing"]

_SQL = load("tenantry.metering")
_REQUIRED = ("input_tokens", "output_tokens")
_OPTIONAL = tuple(name for name in COUNTS if name not in _REQUIRED)


@dataclass(frozen=True, slots=True)
class ProviderEntry:
    """One line of an export: which call, and what the provider counted.

    Attributes:
        line: number in the file, the header being 1; 0 for a call that the file does not have.
        reference: our call id as text, or the provider's id.
        usage: the provider's figures.
    """

    line: int
    reference: str
    usage: TokenUsage


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that cannot be used, and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Export:
    """A provider's export as read; to be applied only when there are no problems."""

    entries: tuple[ProviderEntry, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one line.

    Attributes:
        entry: the line.
        status: `open` calls have no end yet, so that there is nothing to correct: run it again
            after they were settled or swept. `ambiguous` ids name several calls. Of calls that a
            complete export does not have: `unsure` ones may be among its unknown lines, `missing`
            ones the provider itself gave figures for; both are left as they are.
        cost_change_picousd: what the correction added to the tenant's cost.
    """

    entry: ProviderEntry
    status: Status
    cost_change_picousd: int = 0


@dataclass(frozen=True, slots=True)
class Whole:
    """What an export is complete for.

    Attributes:
        account: one of the platform's accounts at a provider.
        since: calls that were announced from then on.
        until: and before then.
    """

    account: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Located:
    """The lines of an export by the tenant whose calls they are, and those of no call."""

    by_tenant: Mapping[TenantId, Sequence[ProviderEntry]]
    rest: Sequence[Outcome] = field(default=())


def read_export(lines: Iterable[str]) -> Export:
    """Read an export; never raises on its content."""
    reader = csv.DictReader(lines, strict=True)
    entries: list[ProviderEntry] = []
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    try:
        missing = _missing_columns(reader.fieldnames or ())
        if missing:
            return Export((), (Problem(1, missing),))
        for row in reader:
            entry = _read_row(reader.line_num, row)
            if isinstance(entry, Problem):
                problems.append(entry)
            elif entry.reference in seen:
                first = seen[entry.reference]
                problems.append(Problem(entry.line, f"the call is on line {first} already"))
            else:
                seen[entry.reference] = entry.line
                entries.append(entry)
    except csv.Error as error:
        problems.append(Problem(reader.line_num, f"not CSV: {error}"))
    return Export(tuple(entries), tuple(problems))


class Reconciler:
    """Applies exports."""

    def __init__(self, db: Database, operator: RoleDatabase, prices: PriceBook) -> None:
        self._db = db
        self._operator = operator
        self._prices = prices

    async def locate(self, export: Export) -> Located:
        """For operators: whose calls these are; apply each tenant's part in a context of it.

        Raises:
            InvalidRequest: the export has bad lines.
        """
        _require_sound(export)
        ids, upstream = _references(export.entries)
        async with self._operator.transaction() as statements:
            rows = await statements.rows(_SQL["locate_calls"], ids=ids, upstream=upstream)
        found: dict[str, list[TenantId]] = {}
        for row in rows:
            found.setdefault(row["given"], []).append(TenantId(row["tenant_id"]))
        by_tenant: dict[TenantId, list[ProviderEntry]] = {}
        rest = []
        for entry in export.entries:
            calls = found.get(entry.reference, [])
            if len(calls) != 1:
                rest.append(Outcome(entry, "ambiguous" if calls else "unknown"))
                continue
            by_tenant.setdefault(calls[0], []).append(entry)
        return Located(by_tenant, rest)

    async def unseen(self, export: Export, located: Located, whole: Whole) -> Located:
        """For operators: calls that a complete export does not have, as lines of nothing used.

        Apply them as those of `locate`, after them. A call whose id at the provider we do not know
        may be any line that names no call of ours; so while there are such lines, it is left alone.
        """
        ids, upstream = _references(export.entries)
        given = {"account": whole.account, "since": whole.since, "until": whole.until}
        async with self._operator.transaction() as statements:
            rows = await statements.rows(_SQL["unseen_calls"], ids=ids, upstream=upstream, **given)
        is_clear = all(outcome.status != "unknown" for outcome in located.rest)
        by_tenant: dict[TenantId, list[ProviderEntry]] = {}
        rest = []
        for row in rows:
            entry = ProviderEntry(0, str(row["call_id"]), TokenUsage())
            if row["confirmed"]:
                rest.append(Outcome(entry, "missing"))
            elif not (is_clear or row["upstream_id"]):
                rest.append(Outcome(entry, "unsure"))
            else:
                by_tenant.setdefault(TenantId(row["tenant_id"]), []).append(entry)
        return Located(by_tenant, rest)

    async def apply(self, ctx: TenantContext, entries: Sequence[ProviderEntry]) -> list[Outcome]:
        """Bring one tenant's entries to the provider's figures, all or none; line by line.

        Idempotent. A call of another tenant is unknown here, whatever the file says.
        """
        async with self._db.tenant(ctx) as tx:
            calls = await self._resolve(tx, entries)
            # In one order, so that two runs at once wait for each other in it, never crosswise.
            order = sorted(entries, key=lambda e: str(calls.get(e.reference)))
            outcomes = [await self._apply(tx, entry, calls) for entry in order]
        return sorted(outcomes, key=lambda outcome: outcome.entry.line)

    async def _resolve(
        self, tx: Transaction, entries: Sequence[ProviderEntry]
    ) -> dict[str, CallId | None]:
        ids, upstream = _references(entries)
        found: dict[str, list[CallId]] = {}
        for row in await tx.rows(_SQL["find_calls"], ids=ids, upstream=upstream):
            found.setdefault(row["given"], []).append(CallId(row["call_id"]))
        # Two lines for one call (its id here, the provider's there) are as unclear as two calls
        # for one line: None, and neither is applied.
        times = Counter(call for calls in found.values() for call in calls)
        return {
            reference: calls[0] if len(calls) == 1 and times[calls[0]] == 1 else None
            for reference, calls in found.items()
        }

    async def _apply(
        self, tx: Transaction, entry: ProviderEntry, calls: Mapping[str, CallId | None]
    ) -> Outcome:
        if entry.reference not in calls:
            return Outcome(entry, "unknown")
        call_id = calls[entry.reference]
        if call_id is None:
            return Outcome(entry, "ambiguous")
        correction = await confirm(tx, self._prices, call_id, entry.usage, final=True)
        if correction is None:
            return Outcome(entry, "open")
        if not correction.changed:
            return Outcome(entry, "unchanged")
        change = correction.cost_picousd - correction.before.entry.cost_picousd
        return Outcome(entry, "corrected", change)


def _require_sound(export: Export) -> None:
    if export.problems:
        listed = "; ".join(f"line {p.line}: {p.reason}" for p in export.problems[:10])
        more = len(export.problems) - 10
        raise InvalidRequest(listed + (f"; and {more} more." if more > 0 else "."))


def _references(entries: Sequence[ProviderEntry]) -> tuple[list[str], list[str]]:
    references = [entry.reference for entry in entries]
    return [r for r in references if parse_id(r)], references


def _missing_columns(names: Sequence[str]) -> str:
    missing = [name for name in _REQUIRED if name not in names]
    if "call_id" not in names and "upstream_id" not in names:
        missing.insert(0, "call_id or upstream_id")
    return f"missing column: {', '.join(missing)}" if missing else ""


def _read_row(line: int, row: Mapping[str, str | None]) -> ProviderEntry | Problem:
    call_id = (row.get("call_id") or "").strip().lower()
    reference = call_id or (row.get("upstream_id") or "").strip()
    if not reference:
        return Problem(line, "no call_id or upstream_id")
    if call_id and parse_id(call_id) is None:
        return Problem(line, "call_id is not an id of ours")
    counts: dict[str, Any] = {}
    for name in (*_REQUIRED, *_OPTIONAL):
        text = (row.get(name) or "").strip() or ("" if name in _REQUIRED else "0")
        # Only plain digits: int() would also take signs, underscores and other scripts' numerals.
        if not (text.isascii() and text.isdigit() and len(text) <= 12):
            return Problem(line, f"{name} is not a whole number")
        counts[name] = int(text)
    usage = TokenUsage(**counts)
    if usage.plausible() != usage:
        return Problem(line, "the figures contradict each other")
    return ProviderEntry(line, reference, usage)
