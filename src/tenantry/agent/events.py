"""What the loop tells whoever listens, in the order in which it happens."""

from dataclasses import dataclass, field

from tenantry.core.ids import ConversationId
from tenantry.metering.usage import TokenUsage
from tenantry.providers.base import FinishReason, TextDelta
from tenantry.sessions.conversations import ToolOutcome
from tenantry.tools.base import Attachment, Citation


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """The model asked for a tool, and it is being run. `arguments` is as the model wrote it."""

    call_id: str
    tool: str
    arguments: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A tool has run, failed or been refused; what it returned is the model's to read."""

    call_id: str
    tool: str
    outcome: ToolOutcome
    rows: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of a turn: the answer is stored and its cost is in the ledger.

    Attributes:
        text: all text that was streamed.
        citations: the sources that it names.
        attachments: charts and files that its tools made, in their order.
        usage: tokens of all its model calls.
        finish_reason: `length` also when the steps ran out.
        cost_picousd: of model calls and tools, in 1e-12 USD.
        conversation_id: where it was kept.
        message_no: its number there; None when the conversation was deleted meanwhile.
        assistant: name of the assistant.
        assistant_version: which version of it answered.
        steps: model calls it took.
    """

    text: str
    citations: tuple[Citation, ...]
    attachments: tuple[Attachment, ...]
    usage: TokenUsage
    finish_reason: FinishReason
    cost_picousd: int
    conversation_id: ConversationId
    message_no: int | None
    assistant: str
    assistant_version: int
    steps: int


AgentEvent = TextDelta | ToolStarted | ToolFinished | Answer
