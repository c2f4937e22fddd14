"""One turn of a conversation: opened from rows, closed into rows, and nothing kept (CTX-1).

    async with open_session(ctx, db, ledger, opening) as session:
        …                       # the agent works; what it produced is noted on the session
    session.cost_picousd        # known now: everything is durable

Opening reads the assistant's current version and the last messages in one transaction; there is
no cache to go stale or to leak. Closing writes question, answer and tool calls and settles every
model call in one transaction, on success, error and cancellation alike, and drops whatever was
loaded. An answer that was cut off is kept as far as it came.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

from tenantry.core.errors import Conflict, InvalidRequest
from tenantry.core.events import Json
from tenantry.core.ids import AssistantId, ConversationId, new_id
from tenantry.core.settling import to_its_end
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database, Transaction
from tenantry.metering.ledger import TOOL_PROVIDER, Ledger, OpenCall
from tenantry.metering.usage import TokenUsage, ToolUsage
from tenantry.sessions.assistants import AssistantVersion, find_assistant
from tenantry.sessions.conversations import (
    Status,
    StoredMessage,
    ToolRecord,
    Turn,
    append_turn,
    create_conversation,
    get_conversation,
    last_messages,
)

_LONGEST_QUESTION = 100_000


@dataclass(frozen=True, slots=True)
class Opening:
    """What a session is opened for.

    Attributes:
        assistant: name of the assistant.
        question: the member's words; at most 100,000 characters.
        conversation_id: a conversation to go on with; None starts a new one.
        history: messages of the conversation to load, at most.
    """

    assistant: str
    question: str = field(repr=False)
    conversation_id: ConversationId | None = None
    history: int = 20


class Entered(Protocol):
    """Hears whether the end of a call is in the ledger for good."""

    def __call__(self, *, for_good: bool) -> None:
        """It is, or nobody can say so."""
        ...


@dataclass(slots=True)
class Charge:
    """A model call of this turn, and what it has used so far.

    Attributes:
        call: from the ledger, which holds its intent.
        usage: what it would be settled with now; nothing until the request leaves.
        confirmed: whether these are the provider's figures, or it is known that nothing was used.
        ended: whether the figures are final.
        cost_picousd: what it cost; None until it is settled.
        on_entered: hears whether its end is in the ledger for good, when that is known.
    """

    call: OpenCall
    usage: TokenUsage = field(default_factory=TokenUsage)
    confirmed: bool = True
    ended: bool = False
    cost_picousd: int | None = None
    on_entered: "Entered | None" = None

    def entered(self, cost_picousd: int) -> None:
        """It is settled for good."""
        self.cost_picousd = cost_picousd
        if self.on_entered is not None:
            self.on_entered(for_good=True)

    def left(self) -> None:
        """Nobody will settle it here, if it is not settled yet."""
        if self.cost_picousd is None and self.on_entered is not None:
            self.on_entered(for_good=False)


@dataclass(frozen=True, slots=True)
class _Entered:
    """What one transaction entered into the ledger."""

    calls: list[tuple[Charge, int]]
    tools: int
    tools_picousd: int


class Session:
    """A turn under way: what was loaded for it, and what it has produced so far.

    Attributes:
        ctx: the member.
        conversation_id: where the turn will be kept; known before it is written.
        charges: the turn's model calls, in order.
        tools: the turn's tool calls, in the order in which they ended.
        citations: sources of the answer, as JSON objects.
        attachments: charts and files beside the answer, as JSON objects.
        status: how the turn ended; None while it is open.
        answer_no: number of the stored answer; None when it was not kept, because the
            conversation was deleted meanwhile.
    """

    def __init__(self, ctx: TenantContext, db: Database, ledger: Ledger, opening: Opening) -> None:
        if len(opening.question) > _LONGEST_QUESTION:
            raise InvalidRequest("A question has at most 100,000 characters.")
        self.ctx = ctx
        self._db = db
        self._ledger = ledger
        self._opening: Opening | None = opening
        self._configuration: AssistantVersion | None = None
        self._history: tuple[StoredMessage, ...] = ()
        self._text: list[str] = []
        self._complete = False
        self.conversation_id = opening.conversation_id or ConversationId(new_id())
        self.charges: list[Charge] = []
        self.tools: list[ToolRecord] = []
        self.citations: list[Mapping[str, Json]] = []
        self.attachments: list[Mapping[str, Json]] = []
        self._unrecorded: list[ToolUsage] = []
        self._tools_picousd = 0
        self.status: Status | None = None
        self.answer_no: int | None = None

    @property
    def configuration(self) -> AssistantVersion:
        """The assistant's version that this turn runs with.

        Raises:
            InvalidRequest: the session is closed.
        """
        if self._configuration is None:
            raise InvalidRequest("The session is closed.")
        return self._configuration

    @property
    def history(self) -> tuple[StoredMessage, ...]:
        """The conversation's last messages, oldest first; empty once closed."""
        return self._history

    @property
    def question(self) -> str:
        """The member's words; empty once closed."""
        return self._opening.question if self._opening else ""

    @property
    def text(self) -> str:
        """The answer so far; empty once closed."""
        return "".join(self._text)

    @property
    def usage(self) -> TokenUsage:
        """Sum over the turn's model calls."""
        return sum((charge.usage for charge in self.charges), TokenUsage())

    @property
    def cost_picousd(self) -> int:
        """Model calls and tools that are in the ledger, in 1e-12 USD; all of them once closed."""
        return self._tools_picousd + sum(charge.cost_picousd or 0 for charge in self.charges)

    def write(self, text: str) -> None:
        """Add to the answer what was just sent to the member."""
        self._text.append(text)

    def used(self, record: ToolRecord, usage: ToolUsage) -> None:
        """Note a tool call that has ended, and what it took."""
        self.tools.append(record)
        self._unrecorded.append(usage)

    def finish(self) -> None:
        """Mark the answer as complete; without it, closing keeps it as cut off."""
        self._complete = True

    async def settle(self) -> None:
        """Enter what has ended by now into the ledger, ahead of the close; durable on return."""
        ended = any(charge.ended and charge.cost_picousd is None for charge in self.charges)
        if ended or self._unrecorded:
            await to_its_end(self._settle_ended())

    async def __aenter__(self) -> "Session":
        opening = self._opening
        if opening is None:
            raise InvalidRequest("A session is opened once.")
        _ = self.ctx.member  # only a member has conversations: refused before any work is done
        async with self._db.tenant(self.ctx) as tx:
            configuration = await find_assistant(tx, opening.assistant)
            if opening.conversation_id is not None:
                await self._load(tx, opening, configuration.assistant_id)
        self._configuration = configuration
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.status = self._status(error)
        try:
            await to_its_end(self._close())
        finally:
            for charge in self.charges:
                charge.left()
            self._discard()

    async def _load(self, tx: Transaction, opening: Opening, assistant_id: AssistantId) -> None:
        conversation = await get_conversation(tx, self.conversation_id)
        if conversation.assistant_id != assistant_id:
            raise InvalidRequest("This conversation is with another assistant.")
        self._history = await last_messages(tx, self.conversation_id, opening.history)

    def _status(self, error: BaseException | None) -> Status:
        if error is None:
            return "complete" if self._complete else "cut"
        return "cut" if isinstance(error, (asyncio.CancelledError, GeneratorExit)) else "failed"

    async def _settle_ended(self) -> None:
        async with self._db.tenant(self.ctx) as tx:
            entered = await self._settle(tx, ended_only=True)
        self._note(entered)

    async def _close(self) -> None:
        try:
            async with self._db.tenant(self.ctx) as tx:
                answer_no = await self._store(tx)
                entered = await self._settle(tx)
        except Conflict:
            # The assistant or the member was removed meanwhile: there is nowhere to keep the turn,
            # but it was paid for.
            answer_no = None
            async with self._db.tenant(self.ctx) as tx:
                entered = await self._settle(tx)
        self.answer_no = answer_no
        self._note(entered)

    async def _store(self, tx: Transaction) -> int | None:
        configuration = self.configuration
        if self._opening is not None and self._opening.conversation_id is None:
            await create_conversation(
                tx, self.conversation_id, configuration.assistant_id, self.question
            )
        turn = Turn(
            question=self.question,
            answer=self.text,
            status=self.status or "failed",
            assistant_version=configuration.version,
            citations=self.citations,
            attachments=self.attachments,
            tools=self.tools,
        )
        return await append_turn(tx, self.conversation_id, turn)

    async def _settle(self, tx: Transaction, *, ended_only: bool = False) -> _Entered:
        calls = []
        for charge in self.charges:
            if charge.cost_picousd is None and (charge.ended or not ended_only):
                cost = await self._ledger.settle(
                    tx, charge.call, charge.usage, confirmed=charge.confirmed
                )
                calls.append((charge, cost))
        uses = list(self._unrecorded)
        costs = [await self._ledger.record_tool(tx, TOOL_PROVIDER, usage) for usage in uses]
        return _Entered(calls, len(uses), sum(costs))

    def _note(self, entered: _Entered) -> None:
        # Only after the commit: what was rolled back must be entered again.
        for charge, cost in entered.calls:
            charge.entered(cost)
        del self._unrecorded[: entered.tools]
        self._tools_picousd += entered.tools_picousd

    def _discard(self) -> None:
        self._opening = None
        self._configuration = None
        self._history = ()
        self._text.clear()
        self.tools.clear()
        self.citations.clear()
        self.attachments.clear()


def open_session(ctx: TenantContext, db: Database, ledger: Ledger, opening: Opening) -> Session:
    """A session to be entered with `async with`: entering loads, leaving stores and discards.

    Entering raises:
        Forbidden: the actor is no member.
        NotFound: no such assistant, or the calling member has no such conversation.
        InvalidRequest: the conversation is with another assistant, or the question is too long.
        StoreUnavailable: the database cannot be reached.
    """
    return Session(ctx, db, ledger, opening)
