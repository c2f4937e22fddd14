"""What the loop works with, and what it is asked."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from tenantry.agent.boundary import ModelBoundary
from tenantry.core.clock import Clock
from tenantry.fairness.bulkheads import Lane
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database
from tenantry.metering.ledger import Ledger
from tenantry.metering.usage import ToolUsage
from tenantry.providers.base import ModelRoute, ToolSpec
from tenantry.sessions.conversations import ToolOutcome
from tenantry.sessions.session import Opening
from tenantry.tools.base import ToolResult


class Executed(Protocol):
    """What came of a tool call."""

    @property
    def result(self) -> ToolResult:
        """What the model is shown."""
        ...

    @property
    def usage(self) -> ToolUsage:
        """What it took."""
        ...

    @property
    def outcome(self) -> ToolOutcome:
        """How it ended."""
        ...


class Tools(Protocol):
    """The tools bound to one session."""

    @property
    def specs(self) -> Sequence[ToolSpec]:
        """What the model may call."""
        ...

    async def run(self, name: str, arguments: str) -> Executed:
        """Run a call as the model wrote it; a failure of the tool is a result, not an error."""
        ...


@dataclass(frozen=True, slots=True)
class AgentLimits:
    """Ceilings of one turn.

    Attributes:
        max_steps: model calls.
        calls_per_step: tool calls taken from one answer of the model; further ones are dropped.
        calls_at_once: tool calls running side by side.
    """

    max_steps: int = 8
    calls_per_step: int = 16
    calls_at_once: int = 4


@dataclass(frozen=True, slots=True)
class AgentParts:
    """What the loop works with.

    Attributes:
        db: the platform's database.
        ledger: where calls are settled.
        boundary: the way to models.
        routes: gives the model of a name for a tenant; raises `NotFound`.
        tools: binds tools of these names to a context and a conversation, for one session.
        clock: for the deadline.
        limits: ceilings of every turn.
    """

    db: Database
    ledger: Ledger
    boundary: ModelBoundary
    routes: Callable[[TenantContext, str], Awaitable[ModelRoute]]
    tools: Callable[[TenantContext, Sequence[str], UUID], Tools]
    clock: Clock
    limits: AgentLimits = field(default_factory=AgentLimits)


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """What a member asks of an assistant.

    Attributes:
        opening: assistant, question, conversation.
        client_history: (role, text) of messages that the client sent along before the question.
        max_output_tokens: per model call; None leaves it to the assistant.
        temperature: None leaves it to the assistant.
        lane: in which its model calls wait for their turns.
    """

    opening: Opening
    client_history: Sequence[tuple[str, str]] = ()
    max_output_tokens: int | None = None
    temperature: float | None = None
    lane: Lane = "interactive"
