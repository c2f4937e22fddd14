"""A stage for turns: both tenants with an assistant of the same name, and models that play."""

import hashlib
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from tenantry.admission import Admission
from tenantry.agent.boundary import ModelBoundary
from tenantry.agent.events import AgentEvent, Answer
from tenantry.agent.loop import AgentLoop
from tenantry.agent.parts import AgentLimits, AgentParts, Tools, TurnRequest
from tenantry.core.clock import Clock
from tenantry.core.errors import NotFound
from tenantry.core.ids import ConversationId
from tenantry.fairness.accounts import AccountTerms
from tenantry.isolation.context import TenantContext
from tenantry.limits.authority import PostgresAuthority
from tenantry.limits.budgets import Budgets
from tenantry.limits.complexity import WeightBook
from tenantry.metering.ledger import Ledger
from tenantry.metering.prices import PriceBook, PriceRow, PriceVersion
from tenantry.metering.usage import TokenUsage
from tenantry.providers.base import (
    ChatModel,
    ChatRequest,
    Chunk,
    Finished,
    ModelRoute,
    TextDelta,
    ToolCall,
    ToolSpec,
    UpstreamAccount,
)
from tenantry.sessions.assistants import Assistants, AssistantVersion, Draft
from tenantry.sessions.conversations import Conversations
from tenantry.sessions.session import Opening
from tests.worlds import World

MODEL = "scripted/scripted-1"
QUESTION = "How many days do customers have?"
BOOK = PriceVersion.of(
    1,
    datetime(2025, 1, 1, tzinfo=UTC),
    [
        PriceRow("scripted", "*", "input_token", 3),
        PriceRow("scripted", "*", "output_token", 5),
    ],
)
_MARKER = re.compile(r"(?<=<<<data )[0-9a-f]{32}(?=>>>)")


@dataclass
class PlayedModel:
    """A model that plays what it is given, call by call, and remembers what it was shown.

    Attributes:
        parts: for each call, its chunks; a callable among them is run, an exception raised.
        requests: every request it got.
        open: streams begun and not ended yet.
    """

    parts: Callable[[int], Iterable[Any]]
    requests: list[ChatRequest] = field(default_factory=list)
    open: int = 0

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        self.requests.append(request)
        self.open += 1
        try:
            for part in self.parts(len(self.requests)):
                if isinstance(part, BaseException):
                    raise part
                if callable(part):
                    await part()
                else:
                    yield part
        finally:
            self.open -= 1


def says(*texts: str, usage: TokenUsage | None = None, reason: Any = "stop") -> list[Chunk]:
    """The chunks of an answer in words."""
    usage = usage or TokenUsage(input_tokens=50, output_tokens=max(1, len(texts)))
    return [*map(TextDelta, texts), Finished(reason, (), usage)]


def calls(*asked: ToolCall, text: str = "") -> list[Chunk]:
    """The chunks of an answer that calls tools."""
    said: list[Chunk] = [TextDelta(text)] if text else []
    usage = TokenUsage(input_tokens=60, output_tokens=7)
    return [*said, Finished("tool_calls", asked, usage)]


class NoTools:
    """For assistants without tools."""

    specs: Sequence[ToolSpec] = ()

    async def run(self, name: str, arguments: str) -> Any:
        raise AssertionError(f"{name}({arguments}) was called")


class Stage:
    """Rooms of a world, put together as the platform does."""

    def __init__(self, world: World, known_tools: Sequence[str] = ("lookup",)) -> None:
        self.world = world
        self.ledger = Ledger(world.db, world.writer, PriceBook([BOOK]), world.clock)
        self.assistants = Assistants(world.db, world.audit, known_tools)
        self.conversations = Conversations(world.db, world.audit)
        self.gate: Admission | None = None  # one of its own for each boundary, unless set

    async def cast(self, ctx: TenantContext, instructions: str, **more: Any) -> AssistantVersion:
        """An assistant called `analyst` of one tenant."""
        return await self.assistants.create(ctx, "analyst", Draft(instructions, MODEL, **more))

    def admission(self, clock: Clock, terms: Mapping[str, AccountTerms] | None = None) -> Admission:
        authority = PostgresAuthority(self.world.db, self.world.cluster.signer, self.world.audit)
        budgets = Budgets(authority, WeightBook(), clock)
        return Admission(terms or {}, budgets, self.ledger, self.world.audit, clock)

    def boundary(self, clock: Clock | None = None) -> ModelBoundary:
        clock = clock or self.world.clock
        gate = self.gate or self.admission(clock)
        return ModelBoundary(gate, self.world.audit, self.ledger, clock)

    def route(self, model: ChatModel, most: int = 1000) -> ModelRoute:
        account = UpstreamAccount("scripted")
        return ModelRoute(MODEL, "scripted", "scripted-1", model, account, most)

    def loop(
        self,
        model: ChatModel,
        tools: Callable[[TenantContext, Sequence[str], UUID], Tools] | None = None,
        limits: AgentLimits | None = None,
    ) -> AgentLoop:
        async def resolve(_ctx: TenantContext, name: str) -> ModelRoute:
            if name != MODEL:
                raise NotFound("There is no such model.")
            return self.route(model)

        return AgentLoop(
            AgentParts(
                db=self.world.db,
                ledger=self.ledger,
                boundary=self.boundary(),
                routes=resolve,
                tools=tools or (lambda _ctx, _names, _conversation: NoTools()),
                clock=self.world.clock,
                limits=limits or AgentLimits(),
            )
        )

    def ledger_rows(self, ctx: TenantContext) -> list[dict[str, Any]]:
        """The tenant's ledger, oldest call first."""
        query = (
            "SELECT * FROM tenantry.usage_events WHERE tenant_id = %s ORDER BY call_id, at, part"
        )
        with self.world.admin() as connection:
            cursor = connection.execute(query, [ctx.tenant])
            names = [c.name for c in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def kinds(self, ctx: TenantContext) -> list[str]:
        return [row["kind"] for row in self.ledger_rows(ctx)]

    async def manifests(self, ctx: TenantContext) -> list[Mapping[str, Any]]:
        events = await self.world.audit_events(ctx)
        return [event["detail"] for event in events if event["action"] == "model.called"]

    async def messages(self, ctx: TenantContext) -> list[tuple[str, str, str]]:
        """(role, content, status) of all messages of the member, newest conversation first."""
        found: list[tuple[str, str, str]] = []
        for conversation in await self.conversations.list_own(ctx, UUID(int=0), 100):
            transcript = await self.conversations.get(ctx, conversation.conversation_id)
            found += [(m.role, m.content, m.status) for m in transcript.messages]
        return found


def asking(question: str = QUESTION, conversation: ConversationId | None = None) -> TurnRequest:
    """A turn with the assistant of the stage."""
    return TurnRequest(Opening("analyst", question, conversation))


async def play(loop: AgentLoop, ctx: TenantContext, request: TurnRequest) -> list[AgentEvent]:
    """All events of a turn."""
    async with aclosing(loop.run(ctx, request)) as events:
        return [event async for event in events]


async def answer(loop: AgentLoop, ctx: TenantContext, request: TurnRequest) -> Answer:
    """The answer of a turn."""
    last = (await play(loop, ctx, request))[-1]
    assert isinstance(last, Answer)
    return last


def without_marker(text: str) -> str:
    """A prompt's text with its marker, which is new each time, taken out."""
    for marker in set(_MARKER.findall(text)):
        text = text.replace(marker, "MARKER")
    return text


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
