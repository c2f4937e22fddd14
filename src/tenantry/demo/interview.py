"""Asks a tenant's assistant as its members do, through `/v1/chat/completions`."""

from dataclasses import dataclass

from tenantry.demo.client import Client, accepted
from tenantry.demo.script import ASSISTANT


@dataclass(frozen=True, slots=True)
class Source:
    """A source that an answer cites: its reference, title or connector, and place in it."""

    ref: str
    title: str
    locator: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What an assistant said.

    Attributes:
        text: the answer.
        sources: what it cites.
        cost_picousd: of model calls and tools, in 1e-12 USD.
        request_id: under which the server recorded it.
        conversation_id: where the server keeps it.
    """

    text: str
    sources: tuple[Source, ...]
    cost_picousd: int
    request_id: str
    conversation_id: str

    @property
    def cited(self) -> tuple[str, ...]:
        """Titles of the documents and names of the connectors it cites."""
        return tuple(source.title for source in self.sources)


async def ask(member: Client, question: str, model: str = ASSISTANT) -> Answer:
    """One question and its whole answer.

    Raises:
        TenantryError: the server refused or failed.
    """
    body = {"model": model, "messages": [{"role": "user", "content": question}]}
    reply = await member.call("POST", "/v1/chat/completions", json=body)
    answer = accepted(reply, f"The question {question!r}")
    facts = answer["tenantry"]
    sources = tuple(Source(c["ref"], c["title"], c["locator"]) for c in facts["citations"])
    return Answer(
        answer["choices"][0]["message"]["content"],
        sources,
        facts["cost_picousd"],
        reply.request_id,
        facts["conversation_id"],
    )
