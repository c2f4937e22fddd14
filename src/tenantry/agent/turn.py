"""A turn between the opening and the closing of its session: steps until there is an answer."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from tenantry.agent.boundary import ModelCall
from tenantry.agent.citations import cited
from tenantry.agent.events import AgentEvent, ToolFinished, ToolStarted
from tenantry.agent.messages import (
    Instruction,
    Material,
    Prompt,
    asked_for,
    found,
    from_client,
    instructions_of,
    new_marker,
    newest,
    question,
    stored,
)
from tenantry.agent.parts import AgentParts, Executed, TurnRequest
from tenantry.agent.step import Step, as_shown
from tenantry.core.errors import ProviderTimeout
from tenantry.providers.base import FinishReason, ModelRoute, ToolCall
from tenantry.sessions.conversations import ToolRecord
from tenantry.sessions.session import Session
from tenantry.tools.base import Attachment, Citation

_LAST_STEP = "This is your last step: answer now from what you have, and call no tool."


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a turn came to."""

    text: str
    citations: tuple[Citation, ...]
    attachments: tuple[Attachment, ...]
    finish_reason: FinishReason
    assistant_version: int


class Turn:
    """One turn between opening and closing of its session."""

    def __init__(
        self, parts: AgentParts, session: Session, request: TurnRequest, route: ModelRoute
    ) -> None:
        version = session.configuration
        self._behaviour = version.behaviour
        self._parts = parts
        self._session = session
        self._ctx = session.ctx
        self._request = request
        self._version = version
        self._route = route
        self._tools = parts.tools(session.ctx, version.tools, session.conversation_id)
        self._marker = new_marker()
        self._sources: dict[str, Citation] = {}
        self._attachments: dict[str, Attachment] = {}
        self._reason: FinishReason = "stop"
        self._shown: list[Material] = [
            *newest(from_client(session.ctx, role, text) for role, text in request.client_history),
            *newest(stored(message) for message in session.history),
            question(session.ctx, session.question),
        ]

    async def events(self) -> AsyncGenerator[AgentEvent, None]:
        """Text and tool events; the turn is answered when they end."""
        most_steps = min(
            self._parts.limits.max_steps, self._behaviour.max_steps or self._parts.limits.max_steps
        )
        for step in range(1, most_steps + 1):
            answered = Step(step, self._session)
            call = self._call(is_last=step == most_steps)
            stream = self._parts.boundary.stream(self._ctx, call, self._session.charges)
            async with aclosing(stream) as chunks:
                async for chunk in chunks:
                    if delta := answered.take(chunk):
                        yield delta
            self._reason = answered.reason
            calls = answered.calls[: self._parts.limits.calls_per_step]
            if not calls:
                return
            if step == most_steps:
                break
            # Tools may take long: what the model used until here is durable before they run.
            await self._session.settle()
            for asked in calls:
                yield ToolStarted(asked.id, asked.name, asked.arguments)
            for done in await self._execute(answered, calls):
                yield done
        self._reason = "length"
        if not self._session.text:
            yield answered.write(f"I found no answer within {most_steps} steps.")

    def outcome(self) -> Outcome:
        """What the turn came to."""
        text = self._session.text
        citations = cited(text, self._sources)
        attachments = tuple(self._attachments.values())
        return Outcome(text, citations, attachments, self._reason, self._version.version)

    def _call(self, *, is_last: bool) -> ModelCall:
        told = [instructions_of(self._version)]
        if is_last:
            told.append(
                Instruction(self._ctx.tenant, "platform:last-step", "trusted", "system", _LAST_STEP)
            )
        most = self._route.max_output_tokens
        wanted = self._request.max_output_tokens or self._behaviour.max_output_tokens or most
        temperature = self._request.temperature
        return ModelCall(
            prompt=Prompt(
                self._ctx.tenant,
                tuple(told),
                tuple(self._shown),
                tuple(self._tools.specs),
                self._marker,
            ),
            route=self._route,
            max_output_tokens=max(1, min(wanted, most)),
            temperature=self._behaviour.temperature if temperature is None else temperature,
            assistant_id=self._version.assistant_id,
            assistant_version=self._version.version,
            lane=self._request.lane,
        )

    async def _execute(self, step: Step, calls: Sequence[ToolCall]) -> list[ToolFinished]:
        """Run the calls side by side; the model is shown them with their results from now on."""
        done = await self._run_all(calls)
        echo = [as_shown(call) for call in calls]
        self._shown.append(asked_for(self._ctx.tenant, step.number, step.text, echo))
        for call, executed in zip(calls, done, strict=True):
            result = executed.result
            self._shown.append(found(self._ctx.tenant, result.origin, call.id, result.content))
            self._sources.update((citation.ref, citation) for citation in result.citations)
            self._attachments.update((each.ref, each) for each in result.attachments)
        return [
            ToolFinished(
                call.id,
                call.name,
                executed.outcome,
                executed.usage.rows,
                executed.usage.duration_ms,
            )
            for call, executed in zip(calls, done, strict=True)
        ]

    async def _run_all(self, calls: Sequence[ToolCall]) -> list[Executed]:
        gate = asyncio.Semaphore(self._parts.limits.calls_at_once)

        async def run(call: ToolCall) -> Executed:
            async with gate:
                executed = await self._tools.run(call.name, call.arguments)
            self._note(call, executed)
            return executed

        left_s = self._ctx.deadline - self._parts.clock.monotonic()
        try:
            async with asyncio.timeout(max(0.0, left_s)), asyncio.TaskGroup() as group:
                tasks = [group.create_task(run(call)) for call in calls]
        except TimeoutError as error:
            raise ProviderTimeout("The request ran out of time.") from error
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors  # the first to fail stopped the others
        return [task.result() for task in tasks]

    def _note(self, call: ToolCall, executed: Executed) -> None:
        usage = executed.usage
        record = ToolRecord(
            tool=call.name,
            arguments=call.arguments,
            outcome=executed.outcome,
            duration_ms=usage.duration_ms,
            row_count=usage.rows,
            size_bytes=usage.size_bytes,
        )
        self._session.used(record, usage)
