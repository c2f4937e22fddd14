"""The analyst's loop: plan, call tools, observe, answer; bounded in steps, calls and time.

    async with aclosing(loop.run(ctx, request)) as events:
        async for event in events: …

The generator may be closed, or its task cancelled, at any moment: the model call is then
cancelled, the conversation keeps what had been answered, and every call is settled.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict

from tenantry.agent.events import AgentEvent, Answer
from tenantry.agent.parts import AgentParts, TurnRequest
from tenantry.agent.turn import Turn
from tenantry.isolation.context import TenantContext
from tenantry.sessions.session import open_session


class AgentLoop:
    """Answers questions with assistants; holds nothing of any turn."""

    def __init__(self, parts: AgentParts) -> None:
        self._parts = parts

    async def run(
        self, ctx: TenantContext, request: TurnRequest
    ) -> AsyncGenerator[AgentEvent, None]:
        """The turn's events, ending with one `Answer` once everything is durable.

        Close the generator (`contextlib.aclosing`) when you stop reading.

        Raises:
            NotFound: no such assistant or conversation, and nothing was done; or the assistant's
                model is no longer there, and the turn is kept as `failed`.
            ProviderError: the model failed; what had streamed is kept as `failed`.
            StoreUnavailable: the database cannot be reached.
        """
        parts = self._parts
        async with open_session(ctx, parts.db, parts.ledger, request.opening) as session:
            route = await parts.routes(ctx, session.configuration.model)
            turn = Turn(parts, session, request, route)
            async with aclosing(turn.events()) as events:
                async for event in events:
                    yield event
            outcome = turn.outcome()
            del turn, events  # the session's configuration must not outlive it in this frame
            session.citations.extend(asdict(citation) for citation in outcome.citations)
            session.attachments.extend(asdict(each) for each in outcome.attachments)
            session.finish()
        yield Answer(
            text=outcome.text,
            citations=outcome.citations,
            attachments=outcome.attachments,
            usage=session.usage,
            finish_reason=outcome.finish_reason,
            cost_picousd=session.cost_picousd,
            conversation_id=session.conversation_id,
            message_no=session.answer_no,
            assistant=request.opening.assistant,
            assistant_version=outcome.assistant_version,
            steps=len(session.charges),
        )
