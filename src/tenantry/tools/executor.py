"""Runs what a model asks for (SEC-3): validated, bounded, measured, and audited when refused.

An unknown argument (`tenant_id` above all) or an unknown tool is no mistake to overlook: nothing
that we showed the model has it, so that it is the earliest sign of an attack.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

import orjson

from tenantry.core.clock import Clock
from tenantry.core.errors import (
    Forbidden,
    InvalidRequest,
    NotFound,
    QueryRefused,
    QueryTimeout,
    TenantryError,
)
from tenantry.core.events import AuditSink, Json
from tenantry.isolation.context import TenantContext
from tenantry.metering.usage import ToolUsage
from tenantry.providers.base import ToolSpec
from tenantry.tools.base import BoundTool, FailedAt, ToolResult
from tenantry.tools.binding import ArgumentsRefused, UnknownArguments, plain

ToolOutcome = Literal["ok", "error", "refused"]
_UNKNOWN = "unknown"
_REFUSALS = (Forbidden, QueryRefused)  # a mistake in the arguments is an error, no refusal


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What one session's tools may take.

    Attributes:
        calls: executions in all.
        seconds: of one execution.
        argument_bytes: of the arguments as the model wrote them.
        argument_depth: of nested objects and lists in them.
        result_bytes: of a result as JSON.
    """

    calls: int = 64
    seconds: float = 30.0
    argument_bytes: int = 32_768
    argument_depth: int = 8
    result_bytes: int = 65_536


@dataclass(frozen=True, slots=True)
class Executed:
    """What came of a call: what the model is shown, what it took, how it ended."""

    result: ToolResult
    usage: ToolUsage
    outcome: ToolOutcome


class ToolExecutor:
    """The tools of one session; discarded with it."""

    def __init__(
        self,
        ctx: TenantContext,
        tools: Sequence[BoundTool],
        audit: AuditSink,
        clock: Clock,
        ceilings: Ceilings | None = None,
    ) -> None:
        self._ctx = ctx
        self._tools = {tool.spec.name: tool for tool in tools}
        self._audit = audit
        self._clock = clock
        self._ceilings = ceilings or Ceilings()
        self._calls = 0

    @property
    def specs(self) -> Sequence[ToolSpec]:
        """What the model may call."""
        return [tool.spec for tool in self._tools.values()]

    async def run(self, name: str, arguments: str) -> Executed:
        """Run a call as the model wrote it; every failure is a result that says what to mend.

        Raises:
            StoreUnavailable: a refusal could not be audited; the turn must end.
        """
        started = self._clock.monotonic()
        result, outcome = await self._attempt(name, arguments)
        size_bytes = len(orjson.dumps(result.content))
        if size_bytes > self._ceilings.result_bytes:
            message = f"The result has {size_bytes} bytes; ask for less."
            result, outcome = _failed(name, InvalidRequest(message), result.connector), "error"
            size_bytes = len(orjson.dumps(result.content))
        duration_ms = int((self._clock.monotonic() - started) * 1000)
        # A made-up name is no key to count by: the ledger would grow one for each.
        counted_as = name if name in self._tools else _UNKNOWN
        usage = ToolUsage(counted_as, duration_ms, result.rows, size_bytes, result.connector)
        return Executed(result, usage, outcome)

    async def _attempt(self, name: str, arguments: str) -> tuple[ToolResult, ToolOutcome]:
        error: TenantryError
        connector: UUID | None = None
        self._calls += 1
        if self._calls > self._ceilings.calls:
            return await self._too_many(name)
        tool = self._tools.get(name)
        if tool is None:
            await self._refuse("tool.unknown", name, {"tool": plain(name)})
            known = ", ".join(self._tools) or "none"
            error = InvalidRequest(f"There is no such tool. Known: {known}.")
            return _failed(name, error), "refused"
        try:
            async with asyncio.timeout(self._seconds_left()):
                return await tool.run(self._read(arguments)), "ok"
        except UnknownArguments as unknown:
            named: list[Json] = list(unknown.names)
            await self._refuse("tool.argument_refused", name, {"tool": name, "arguments": named})
            return _failed(name, unknown), "refused"
        except TimeoutError:
            message = f"The tool took longer than {self._ceilings.seconds:g} seconds."
            return _failed(name, QueryTimeout(message)), "error"
        except FailedAt as failed:
            error, connector = failed.error, failed.connector
        except TenantryError as raised:
            error = raised
        if isinstance(error, NotFound):
            # Another's name and nobody's are one: the model learns no more, but probing shows.
            await self._refuse("id.unknown", arguments, {"tool": name})
        return _failed(name, error, connector), _outcome(error)

    async def _too_many(self, name: str) -> tuple[ToolResult, ToolOutcome]:
        """Refuse, and record it once: a flood of calls must not become a flood of events."""
        most = self._ceilings.calls
        if self._calls == most + 1:
            await self._refuse("tool.ceiling_reached", name, {"calls": most})
        error = ArgumentsRefused(f"This turn has used its {most} tool calls.")
        return _failed(name, error), "refused"

    def _seconds_left(self) -> float:
        left = self._ctx.deadline - self._clock.monotonic()
        return max(0.0, min(self._ceilings.seconds, left))

    def _read(self, arguments: str) -> Mapping[str, Json]:
        ceilings = self._ceilings
        if len(arguments.encode("utf-8", "replace")) > ceilings.argument_bytes:
            raise ArgumentsRefused(f"Arguments have at most {ceilings.argument_bytes} bytes.")
        try:
            read: Json = orjson.loads(arguments or "{}")
        except (orjson.JSONDecodeError, UnicodeEncodeError) as error:
            raise ArgumentsRefused("The arguments are not valid JSON.") from error
        if not isinstance(read, dict):
            raise ArgumentsRefused("The arguments are not a JSON object.")
        if _depth(read, ceilings.argument_depth) > ceilings.argument_depth:
            raise ArgumentsRefused("The arguments are nested too deeply.")
        return read

    async def _refuse(self, action: str, target: str, detail: Mapping[str, Json]) -> None:
        await self._audit.record(self._ctx.event(action, "refused", "tool", plain(target), detail))


def _outcome(error: TenantryError) -> ToolOutcome:
    # What crossed a boundary was audited where it was noticed.
    return "refused" if isinstance(error, _REFUSALS) else "error"


def _failed(name: str, error: TenantryError, connector: UUID | None = None) -> ToolResult:
    content: Json = {"error": {"code": error.code, "message": error.message}}
    return ToolResult(content, f"tool:{plain(name)}", is_error=True, connector=connector)


def _depth(value: Json, most: int) -> int:
    """How deeply `value` is nested, not looking further than `most` + 1."""
    if most < 0 or not isinstance(value, dict | list):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max((_depth(item, most - 1) for item in inner), default=0)
