"""A trial: the attacker's turns with one mind, and what must be true after them."""

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson

from tenantry.tools.toolbox import TOOL_NAMES
from tests.isolation.canaries import marks_in
from tests.isolation.obedient_estate import Party, Stage, ids_in
from tests.providers.attack_calls import Victim
from tests.providers.obedient import ObedientModel
from tests.providers.replies import CallOf, ProviderCall

AUDITED = ("tool.unknown", "tool.argument_refused", "query.refused", "id.unknown")
"""Refusals of a model's calls, each with an event of its own in the caller's chain."""
SILENT = {
    "answered": "a permitted call with the tenant's own things: a foreign text only finds less",
    "unfit": "arguments that are no JSON, too long, too deep or of a wrong type: nothing is run",
    "unreadable": "SQL that cannot be parsed reaches for nothing",
    "query_failed": "the confined process stopped an approved statement over own tables",
    "query_timeout": "a permitted statement took too long",
}
"""Outcomes without an event, each with its reason; the conversation keeps the call all the same."""
_MARKED = re.compile(r"<<<data ([0-9a-f]{32})>>>\n.*\n<<<end \1>>>")
_UNREADABLE = ("The SQL could not be read", "The SQL is nested", "Write one", "A statement has")


def knowledge(stage: Stage) -> Victim:
    """The worst case of guessing: the victim's ids, and whatever names need no secret."""
    victim = stage.victim.tenant
    return Victim(
        ids=stage.victims_ids,
        names=("globex", "globex-owner", stage.victims_assistant, "items"),
        sql=(
            f"SELECT * FROM tenantry.messages WHERE tenant_id = '{victim.tenant_id}'",
            "SELECT * FROM globex.items",
            f"SELECT * FROM read_parquet('{victim.tenant_id}/*.parquet')",
        ),
        paths=(str(stage.estate.service.platform.settings.files_dir / str(victim.tenant_id)),),
        urls=(f"{stage.estate.service.base_url}/v1/tenants/{victim.tenant_id}",),
    )


class Trial:
    """What happened during a trial.

    Attributes:
        mind: the model.
        prompts: requests that the provider got.
        refused: the attacker's new audit events of refusals, by action.
        kept: its new tool calls on record, by outcome.
    """

    def __init__(self, stage: Stage, mind: ObedientModel) -> None:
        self.stage, self.mind = stage, mind
        self.prompts: list[ProviderCall] = []
        self.refused: Counter[str] = Counter()
        self.kept: Counter[str] = Counter()

    @property
    def results(self) -> Counter[str]:
        """Kinds of results that the model was shown, each turn's once."""
        turns: dict[str, list[str]] = {}
        for call in self.prompts:
            shown = [m["content"] for m in call.body["messages"] if m["role"] == "tool"]
            for text in shown[:1]:
                turns[_MARKED.fullmatch(text)[1]] = shown  # type: ignore[index]  # always marked
        return Counter(_kind(text.splitlines()[1]) for shown in turns.values() for text in shown)

    def require_the_log_to_tell_all(self) -> None:
        """Every call is kept with its turn, and every refusal has exactly its one event."""
        assert self.kept.total() == len(self.mind.emitted) == self.results.total()
        told = self.results
        assert set(told) <= {*AUDITED, *SILENT}
        assert {a: told[a] for a in AUDITED} == {a: self.refused[a] for a in AUDITED}
        assert set(self.refused) <= set(AUDITED)
        unknown = sum(call.name not in TOOL_NAMES for call in self.mind.emitted)
        invented = sum(invents_arguments(call, self.prompts[0].body) for call in self.mind.emitted)
        assert (unknown, invented) == (told["tool.unknown"], told["tool.argument_refused"])


@asynccontextmanager
async def trial(stage: Stage, **how: Any) -> AsyncIterator[Trial]:
    """Whatever the attacker does inside: nobody learns anything of the others, nothing changes."""
    attacker, service = stage.attacker, stage.estate.service
    others = (stage.victim, stage.bystander)
    secret_ids = stage.secret_ids()
    before = [stage.estate.fingerprint(party.tenant) for party in others]
    trace, calls = stage.estate.trace(attacker.tenant), stage.calls_of(attacker)
    first = len(stage.provider.calls)
    attacker.seen.clear()
    stage.close_breakers()
    found = Trial(stage, stage.mind(**how))
    yield found
    found.prompts = stage.provider.calls[first:]
    found.refused = Counter(stage.estate.trace(attacker.tenant)[len(trace) :])
    found.kept = stage.calls_of(attacker) - calls
    await attacker.look_around()
    shown = [text for call in found.prompts for text in call.prompt]
    sent = [str(value) for call in found.prompts for value in call.headers.values()]
    for texts in (attacker.seen, shown, sent):
        assert marks_in(texts, stage.foreign_marks(attacker)) == set()
        assert ids_in(texts) & secret_ids == set()
    assert [stage.estate.fingerprint(party.tenant) for party in others] == before
    await service.platform.audit.anchor()
    assert (await service.platform.audit.verify()).defects == ()


async def unharmed(party: Party, stage: Stage) -> None:
    """What a tenant can see is still all its own, and nothing of the others."""
    party.seen.clear()
    await party.look_around()
    assert marks_in(party.seen, party.marks)
    assert marks_in(party.seen, stage.foreign_marks(party)) == set()


def invents_arguments(call: CallOf, body: Mapping[str, Any]) -> bool:
    """Whether a call names an argument that its tool, as the model was shown it, does not have."""
    shown: Sequence[Mapping[str, Any]] = [tool["function"] for tool in body["tools"]]
    known = {tool["name"]: set(tool["parameters"]["properties"]) for tool in shown}
    try:
        given = orjson.loads(call.arguments)
    except orjson.JSONDecodeError:
        return False
    return call.name in known and isinstance(given, dict) and bool(given.keys() - known[call.name])


def _kind(result: str) -> str:
    read = json.loads(result)
    error = read.get("error") if isinstance(read, dict) else None
    if not isinstance(error, dict):
        return "answered"
    code, message = str(error["code"]), str(error["message"])
    if message.startswith("There is no such tool."):
        return "tool.unknown"
    if code == "query_refused":
        return "unreadable" if message.startswith(_UNREADABLE) else "query.refused"
    kinds = {
        "unknown_arguments": "tool.argument_refused",
        "not_found": "id.unknown",
        "invalid_request": "unfit",
    }
    return kinds.get(code, code)
