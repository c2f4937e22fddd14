"""The answerer that needs no model and no key, and invents nothing.

It works in at most three steps: recall a verified query of the tenant's and run it; else search
the tenant's documents and quote the sentences nearest to the question, word for word; else say
that it does not know. Every word of an answer is its own fixed phrases, a question that the
tenant verified, or a literal quote.

Threat: documents, rows and names carry instructions. Invariant: found text is compared and quoted,
never parsed for anything to do; the only tools called are the three below, with the member's
question or the tenant's verified SQL as arguments.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from tenantry.core.events import Json
from tenantry.metering.usage import TokenUsage
from tenantry.providers.base import (
    ChatRequest,
    Chunk,
    Embedder,
    Finished,
    FinishReason,
    Message,
    TextDelta,
    ToolCall,
)
from tenantry.providers.matching import Likeness
from tenantry.providers.rendering import Quote, Rows, quotes_answer, rows_answer
from tenantry.providers.sentences import sentences_of

RECALL, QUERY, SEARCH = "recall_verified_query", "query_data", "search_documents"
DOES_NOT_KNOW = (
    "I do not know. Neither the verified queries nor the documents that I may read answer this "
    "question."
)
_PASSAGES = 5
_MOST_SENTENCES = 60


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which similarity on something is an answer; cosines differ from embedder to embedder.

    The defaults are for multilingual-e5-small (4 bit), whose cosines lie between 0.75 and 1.
    Measured on the handbooks of both demo tenants, sentence by sentence, each with its passage's
    headings before it: 28 questions that they answer had their best sentence at 0.842 to 0.919,
    26 of them at 0.866 or more; 28 that they do not answer, of which 11 are the other tenant's,
    had theirs at 0.757 to 0.848.

    Attributes:
        likeness: for a verified question to be the one that was asked.
        sentence: for the best sentence of the documents.
        margin: how far behind the best a second and third one may stay.
        quotes: sentences quoted, at most.
    """

    likeness: Likeness = field(default_factory=Likeness)
    sentence: float = 0.857
    margin: float = 0.015
    quotes: int = 3


@dataclass(frozen=True, slots=True)
class _Found:
    """What the tools gave in this turn, by the tool's name; the last result of each counts."""

    question: str
    results: Mapping[str, Mapping[str, Any]]
    offered: frozenset[str]

    def may_call(self, tool: str) -> bool:
        return tool in self.offered and tool not in self.results


class KeylessAnswerer:
    """A `ChatModel` by retrieval alone; holds nothing of a call once it ends."""

    def __init__(self, embedder: Embedder, thresholds: Thresholds | None = None) -> None:
        self._embedder = embedder
        self._thresholds = thresholds or Thresholds()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        """Text deltas in order, then exactly one `Finished`; see `ChatModel.stream`."""
        found = _found(request)
        if (call := self._next_call(found)) is not None:
            usage = await asyncio.to_thread(self._usage, request, call.name + call.arguments)
            yield Finished("tool_calls", (call,), usage)
            return
        lines = await self._answer(found)
        # In a thread: the tokenizer is loaded with the first text, and counts long prompts.
        text, reason = await asyncio.to_thread(self._within, request.max_output_tokens, lines)
        for line in text.splitlines(keepends=True):
            yield TextDelta(line)
        yield Finished(reason, usage=await asyncio.to_thread(self._usage, request, text))

    def _next_call(self, found: _Found) -> ToolCall | None:
        if not found.question:
            return None
        if found.may_call(RECALL):
            return _call(RECALL, question=found.question)
        match = self._match(found)
        if match and found.may_call(QUERY) and SEARCH not in found.results:
            return _call(QUERY, connector=match["connector"], sql=match["sql"])
        if _rows(found) is None and found.may_call(SEARCH):
            return _call(SEARCH, query=found.question, limit=_PASSAGES)
        return None

    def _match(self, found: _Found) -> dict[str, str] | None:
        """The verified query that answers the question, if one was recalled."""
        match = found.results.get(RECALL, {}).get("match")
        if not isinstance(match, dict):
            return None
        texts = {name: match.get(name) for name in ("question", "connector", "sql")}
        similarity = match.get("similarity")
        if not all(isinstance(text, str) for text in texts.values()):
            return None
        if not isinstance(similarity, float | int):
            return None
        known = {name: str(text) for name, text in texts.items()}
        same = self._thresholds.likeness.same_question(
            found.question, known["question"], similarity
        )
        return known if same else None

    async def _answer(self, found: _Found) -> list[str]:
        match, rows = self._match(found), _rows(found)
        if match and rows:
            return rows_answer(match["question"], rows)
        quotes = await self._quotes(found)
        return quotes_answer(quotes) if quotes else [DOES_NOT_KNOW]

    async def _quotes(self, found: _Found) -> list[Quote]:
        candidates = _sentences(found)
        if not candidates:
            return []
        question = await self._embedder.embed_query(found.question)
        vectors = await self._embedder.embed_passages([shown for shown, _ in candidates])
        likeness = vectors @ question
        least = max(self._thresholds.sentence, float(likeness.max()) - self._thresholds.margin)
        order = np.argsort(-likeness, kind="stable")[: self._thresholds.quotes]
        return [candidates[at][1] for at in order if likeness[at] >= least]

    def _within(self, most_tokens: int, lines: Sequence[str]) -> tuple[str, FinishReason]:
        """As many whole lines as the bound allows: what is cut must not read as complete."""
        kept = ""
        for line in lines:
            longer = f"{kept}\n{line}" if kept else line
            if self._embedder.count_tokens(longer) > most_tokens:
                return kept, "length"
            kept = longer
        return kept, "stop"

    def _usage(self, request: ChatRequest, output: str) -> TokenUsage:
        """Exact: there is no other tokenizer than the embedder's, and this is its count."""
        shown = [message.content for message in request.messages]
        shown += [c.name + c.arguments for m in request.messages for c in m.tool_calls]
        prompt = sum(self._embedder.count_tokens(text) for text in shown if text)
        counted = self._embedder.count_tokens(output) if output else 0
        return TokenUsage(prompt, 0, min(counted, request.max_output_tokens), 0)


def _found(request: ChatRequest) -> _Found:
    """The member's question, and what this turn's tools gave since."""
    asked = [at for at, message in enumerate(request.messages) if message.role == "user"]
    if not asked:
        return _Found("", {}, frozenset())
    names: dict[str, str] = {}
    results: dict[str, Mapping[str, Any]] = {}
    for message in request.messages[asked[-1] + 1 :]:
        names |= {call.id: call.name for call in message.tool_calls}
        if message.role == "tool" and message.tool_call_id in names:
            results[names[message.tool_call_id]] = _result(message)
    offered = frozenset(tool.name for tool in request.tools)
    return _Found(request.messages[asked[-1]].content.strip(), results, offered)


def _result(message: Message) -> Mapping[str, Any]:
    """The JSON line of a tool's result, between the lines that mark it as data."""
    lines = message.content.split("\n")
    marked = len(lines) == 3 and lines[0].startswith("<<<data ")
    try:
        value = orjson.loads(lines[1] if marked else message.content)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _rows(found: _Found) -> Rows | None:
    return Rows.of(found.results.get(QUERY, {}))


def _sentences(found: _Found) -> list[tuple[str, Quote]]:
    """Each sentence once, as it is compared (with its heading) and as it is quoted."""
    passages = found.results.get(SEARCH, {}).get("passages")
    candidates: dict[str, tuple[str, Quote]] = {}
    for passage in passages if isinstance(passages, list) else ():
        if not isinstance(passage, dict) or not isinstance(passage.get("ref"), str):
            continue
        text, heading = passage.get("text"), passage.get("heading")
        title = str(passage.get("title") or "untitled")
        for sentence in sentences_of(text) if isinstance(text, str) else ():
            shown = f"{heading}: {sentence}" if isinstance(heading, str) and heading else sentence
            quote = Quote(sentence, str(passage["ref"]), title)
            candidates.setdefault(sentence, (shown, quote))
    return list(candidates.values())[:_MOST_SENTENCES]


def _call(tool: str, **arguments: Json) -> ToolCall:
    # Each tool is called once a turn at most, so that its name is an id.
    return ToolCall(f"call_{tool}", tool, json.dumps(arguments, ensure_ascii=False))
