"""`tenantry eval sql` against the real server: the command of a tenant, a model of the world."""

import asyncio
import json

import pytest
from click.testing import CliRunner, Result

from tenantry.cli.main import cli
from tenantry.demo.golden import SETS, golden_questions
from tests.providers.replies import CallOf, ProviderCall, Reply
from tests.providers.scripted import ScriptedProvider
from tests.service import Service

pytestmark = pytest.mark.req("CON-3")

_GOLD = {each.question: each for name in SETS for each in golden_questions(name)}


def _answer(call: ProviderCall) -> Reply:
    """Knows the gold SQL, but is wrong about one question, refuses another, misspells a third."""
    messages = call.body["messages"]
    if messages[-1]["role"] == "tool":
        return Reply("Here it is.")
    asked = str(messages[-1]["content"])
    golden = next(each for question, each in _GOLD.items() if question in asked)
    sql = {2: "SELECT 1", 3: "SELECT nothing FROM nowhere"}.get(golden.number, golden.sql)
    if golden.number == 4:
        return Reply("I do not know.")
    arguments = json.dumps({"connector": f"golden-{golden.set}", "sql": sql})
    return Reply(calls=(CallOf("query_data", arguments),))


async def _run(service: Service, *arguments: str) -> Result:
    environment = {
        "TENANTRY_BASE_URL": service.base_url,
        "TENANTRY_API_KEY": service.acme.credential,
    }
    runner = CliRunner()
    # In a thread: a command has an event loop of its own.
    return await asyncio.to_thread(runner.invoke, cli, ["eval", "sql", *arguments], env=environment)


async def _assistant(service: Service) -> None:
    body = {"name": "measured", "instructions": "Answer.", "model": "scripted/scripted-1"}
    created = await service.acme.post("/v1/assistants", body)
    assert created.status == 201, created.body


async def test_answers_are_scored_by_their_rows(
    modelled: Service, provider: ScriptedProvider
) -> None:
    provider.answer = _answer
    await _assistant(modelled)
    options = ("--assistant", "measured", "--set", "chinook")

    missing = await _run(modelled, *options)
    assert missing.exit_code == 1
    assert "Run again with --load" in missing.output

    done = await _run(modelled, *options, "--first", "5", "--load", "--json", "--at-least", "50")
    assert done.exit_code == 1, done.output
    report = json.loads(done.stdout)
    verdicts = [each["verdict"] for each in report["questions"]]
    assert verdicts == ["right", "wrong", "no query", "no query", "right"]
    assert (report["right"], report["of"], report["percent"]) == (2, 5, 40.0)

    again = await _run(modelled, *options, "--first", "1", "--at-least", "100")
    assert again.exit_code == 0, again.output
    assert "1 of 1 right (100.0 %)" in again.stdout


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_a_model_that_knows_everything_is_right_everywhere(
    modelled: Service, provider: ScriptedProvider
) -> None:
    provider.answer = lambda call: (
        _answer(call)
        if call.body["messages"][-1]["role"] == "tool"
        else Reply(calls=(CallOf("query_data", _gold_arguments(call)),))
    )
    await _assistant(modelled)
    done = await _run(modelled, "--assistant", "measured", "--load", "--at-least", "100")
    assert done.exit_code == 0, done.output
    assert f"{len(_GOLD)} of {len(_GOLD)} right" in done.stdout


def _gold_arguments(call: ProviderCall) -> str:
    asked = str(call.body["messages"][-1]["content"])
    golden = next(each for question, each in _GOLD.items() if question in asked)
    return json.dumps({"connector": f"golden-{golden.set}", "sql": golden.sql})
