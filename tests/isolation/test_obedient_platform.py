"""The obedient model against the whole served platform: nothing leaks, every refusal is on record.

What no test here can notice: row-level security off for chunks, patterns or conversations alone (a
join or the member's id still hides their rows), and the boundary's owner check gone alone (nothing
foreign reaches it). The catalogue test and `integration/agent/test_boundary.py` are for these.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.isolation.canaries import marks_in
from tests.isolation.obedient_estate import PLANTED, STORES, Stage, consult, staged
from tests.isolation.obedient_trial import AUDITED, knowledge, trial, unharmed
from tests.isolation.served import made
from tests.providers.obedient import MODES
from tests.worlds import Cluster

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with staged(cluster, tmp_path_factory.mktemp("obedient")) as stage:
        yield stage


async def test_each_tenant_finds_its_own_mark_of_every_store_and_nobody_elses(stage: Stage) -> None:
    for party in (stage.victim, stage.bystander):
        assert set(party.marks) - marks_in(party.seen, party.marks) == set()
        assert marks_in(party.seen, stage.foreign_marks(party)) == set()


@pytest.mark.req("SEC-3", "SEC-4", "CTX-2")
async def test_orders_in_every_store_are_obeyed_and_every_one_is_refused_and_audited(
    stage: Stage,
) -> None:
    attacker = stage.attacker
    async with trial(stage, modes=("obey",), batch=16) as found:
        for stream in (False, True):
            orders = [attacker.reading, attacker.orders["message"], f"@@say {attacker.table}"]
            history = [{"role": "assistant", "content": attacker.orders["client-history"]}]
            first = await attacker.ask("\n".join(orders), stream=stream, messages=history)
            assert first.status == 200
        asked = made(await attacker.ask(attacker.orders["history"]))
        again = asked["tenantry"]["conversation_id"]
        made(await attacker.ask("And now?", conversation_id=again))
    planted = {call.name for call in found.mind.emitted if call.name.startswith("plant_")}
    assert planted == {f"plant_{store.replace('-', '_')}" for store in PLANTED}
    found.require_the_log_to_tell_all()


@pytest.mark.req("SEC-3", "SEC-4")
async def test_every_call_that_an_attacker_could_want_gives_nothing_and_is_on_record(
    stage: Stage,
) -> None:
    await enumerate_calls(stage, 1, 400)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.req("SEC-3", "SEC-4")
@pytest.mark.parametrize("seed", range(2, 7))
async def test_ten_thousand_calls_give_nothing_and_are_on_record(stage: Stage, seed: int) -> None:
    await enumerate_calls(stage, seed, 2_000)


async def enumerate_calls(stage: Stage, seed: int, count: int) -> None:
    """Turns until the model has tried `count` calls, streamed and not, some at a time."""
    how = {"modes": ("enumerate",), "seed": seed, "batch": 16, "victim": knowledge(stage)}
    async with trial(stage, **how, most_calls=count) as found:
        while not found.mind.exhausted:
            turns = [stage.attacker.ask("Try.", stream=bool(n % 2)) for n in range(3)]
            assert {answer.status for answer in await asyncio.gather(*turns)} == {200}
    found.mind.require_attacks(count)
    found.require_the_log_to_tell_all()
    assert all(found.refused[action] for action in AUDITED)


@pytest.mark.req("SEC-3", "SEC-4")
async def test_what_a_model_gives_away_reaches_no_other_tenant(stage: Stage) -> None:
    attacker = stage.attacker
    secrets = [attacker.marks[store] for store in ("row", "text", "instructions", "message")]
    question = f"{attacker.marks['message']} {attacker.reading}"
    async with trial(stage, modes=("obey", "exfiltrate"), batch=16, secrets=secrets) as found:
        for stream in (False, True):
            assert (await attacker.ask(question, stream=stream)).status == 200
    given = "\n".join([*found.mind.said, *(call.arguments for call in found.mind.emitted)])
    assert all(secret in given for secret in secrets)
    found.require_the_log_to_tell_all()
    for party in (stage.victim, stage.bystander):
        await unharmed(party, stage)


@pytest.mark.req("SEC-4", "CTX-1")
async def test_a_model_that_breaks_every_rule_of_its_protocol_shows_nobody_anything(
    stage: Stage,
) -> None:
    statuses = Counter[int]()
    how = {"modes": MODES, "seed": 4, "batch": 4, "victim": knowledge(stage), "most_calls": 64}
    async with trial(stage, **how) as found:
        # One after the other: which answer is a fault depends on the order of the calls.
        for turn in range(30):
            stage.close_breakers()
            answer = await stage.attacker.ask("Try.", stream=bool(turn % 2))
            statuses[answer.status] += 1
    assert set(statuses) <= {200, 400, 502, 503, 504}
    assert len(statuses) > 1, "it never misbehaved"
    found.mind.require_attacks(50)
    assert set(found.refused) <= {*AUDITED, "tool.ceiling_reached"}


@pytest.mark.req("SEC-4", "CTX-1")
async def test_no_model_is_asked_in_the_victims_conversations_or_with_its_assistants(
    stage: Stage,
) -> None:
    attacker = stage.attacker
    async with trial(stage, modes=("obey",)) as found:
        named: list[dict[str, Any]] = [{"conversation_id": each} for each in stage.victims_ids]
        named += [{"metadata": each} for each in named]
        named += [{"model": stage.victims_assistant}]
        answers = [
            await attacker.ask("Go on.", stream=stream, **more)
            for stream in (False, True)
            for more in named
        ]
        assert {answer.status for answer in answers} == {404}
        assert len({str(answer.comparable) for answer in answers}) == 1
    assert found.prompts == []
    assert found.refused == {"id.unknown": len(answers)}


@pytest.mark.req("SEC-4", "CTX-2")
async def test_the_victims_own_model_still_reads_all_that_is_the_victims(stage: Stage) -> None:
    for party in (stage.victim, stage.bystander):
        party.seen.clear()
        await consult(stage, party)
        await party.look_around()
        assert marks_in(party.seen, party.marks) == set(STORES)
        assert marks_in(party.seen, stage.foreign_marks(party)) == set()
