"""The demo as a newcomer runs it, and what it would say of a platform that is not well.

One run of the command, on an empty data directory, leaves the server that all tests here use.
"""

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import aiohttp
import pytest
import pytest_asyncio

from tenantry.core.errors import TenantryError
from tenantry.demo.attacks import Stage, attacks
from tenantry.demo.client import Client, accepted
from tenantry.demo.evidence import recorded
from tenantry.demo.gullible import MODEL
from tenantry.demo.interview import ask
from tenantry.demo.provision import Place, provision, steps
from tenantry.demo.script import (
    CHORD,
    PLANTED_DOCUMENT,
    PLANTED_QUESTIONS,
    QUESTIONS,
    SKYLINE,
    TENANTS,
)
from tenantry.demo.show import run_demo
from tenantry.demo.verified import verified_queries
from tests.acceptance.process import command, environment
from tests.conftest import deployment

pytestmark = [
    pytest.mark.req("USE-5"),
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="module"),
]
_REFUND = "How many days do customers have to ask for a refund?"
_PASSED = "12 answers and the books: no faults. Attacks: none got through."


@dataclass
class Theatre:
    """What the command said, the server that it left running, and a client of its operator."""

    said: str
    settings: dict[str, str]
    operator: Client
    skyline: Place
    chord: Place

    async def show(self) -> tuple[int, str]:
        """Run the show in this process; its status and its text."""
        said: list[str] = []
        base_url, key = self.operator.base_url, self.operator.credential
        status = await run_demo(base_url, key, serve=True, out=said.append)
        return status, "\n".join(said)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def theatre() -> AsyncIterator[Theatre]:
    """One for all tests, because loading both tenants takes longest; each leaves it as it was."""
    with deployment() as folder:
        settings = environment(folder, COLUMNS="120")
        async with left_running(settings) as said, aiohttp.ClientSession() as session:
            own = {**settings, "TENANTRY_DATA_DIR": str(folder / "demo")}
            status, key, errors = await command(own, "operator-key", "create", "audience")
            assert status == 0, errors
            base_url = said.partition("OPENAI_BASE_URL=")[2].split()[0].removesuffix("/v1")
            operator = Client(session, base_url, key.strip())
            places = [await provision(operator, t, lambda _: None) for t in TENANTS]
            assert [place.added for place in places] == [0, 0]
            yield Theatre(said, settings, operator, *places)


@asynccontextmanager
async def left_running(settings: dict[str, str]) -> AsyncIterator[str]:
    """`tenantry demo` until it serves; what it said until then."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tenantry", "demo", "--port", "0",
        env=settings,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    said = ""
    try:
        while "until you press Ctrl+C" not in said:
            line = await asyncio.wait_for(process.stdout.readline(), 300)
            assert line, said
            said += line.decode()
        yield said
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await process.communicate()


async def answered(base_url: str, key: str) -> str:
    body = {"model": "analyst", "messages": [{"role": "user", "content": _REFUND}]}
    async with (
        aiohttp.ClientSession(headers={"authorization": f"Bearer {key}"}) as session,
        session.post(f"{base_url}/v1/chat/completions", json=body) as response,
    ):
        assert response.status == 200
        return str((await response.json())["choices"][0]["message"]["content"])


@asynccontextmanager
async def added_document(place: Place, title: str, text: str) -> AsyncIterator[None]:
    reply = await place.admin.upload("/v1/documents", title, "text/markdown", text.encode())
    document = accepted(reply, "Adding")["id"]
    try:
        yield
    finally:
        await place.admin.call("DELETE", f"/v1/documents/{document}")


async def left_behind(place: Place) -> set[str]:
    documents = {d["title"] for d in await place.admin.list("/v1/documents")}
    questions = {p["question"] for p in await place.admin.list("/v1/patterns")}
    assistants = {a["name"] for a in await place.admin.list("/v1/assistants")}
    return (
        documents & {PLANTED_DOCUMENT}
        | questions & set(PLANTED_QUESTIONS)
        | assistants - {"analyst"}
    )


async def test_one_command_shows_it_all_and_leaves_a_server_running(theatre: Theatre) -> None:
    said = theatre.said
    assert _PASSED in said
    assert "\x1b" not in said  # no terminal: no colours and no progress bar
    assert "Skyline Air: 5 tables, 8 documents, 12 verified queries (25 added)" in said
    assert "Chord Store: 11 tables, 8 documents, 12 verified queries (31 added)" in said
    refund = said.partition("ask for a refund?”")[2].partition("“When is customer")[0]
    for fact in ("21 days", "14 days", "refunds-and-changes.md", "refunds-and-returns.md"):
        assert fact in refund
    assert len(re.findall(r"\$0\.0000\d+", refund)) == 2
    assert refund.count("right") == 2
    carrier = said.partition("“Which carrier flew")[2].partition("“Who is our best")[0]
    assert "58665" in carrier
    assert "I do not know" in carrier
    skyline, chord = re.findall(r"OPENAI_API_KEY=(\S+)", said)
    assert "21 days" in await answered(theatre.operator.base_url, skyline)
    assert "14 days" in await answered(theatre.operator.base_url, chord)


async def test_it_shows_the_attacks_and_the_books_and_leaves_nothing_behind(
    theatre: Theatre,
) -> None:
    said = theatre.said
    assert said.count("blocked") >= 10
    assert "orders in a document, obeyed" in said
    for action in ("id.unknown", "key.refused", "query.refused", "request.tenant_header"):
        assert re.search(rf"#\d+ {action}", said), action
    assert "0 of them another tenant's" in said
    assert re.search(r"Audit log: [\d,]+ events in 3 chains, whole\.", said)
    for place in (theatre.skyline, theatre.chord):
        assert await left_behind(place) == set()


async def test_the_next_one_finds_all_there_and_ends_after_the_show(theatre: Theatre) -> None:
    status, out, errors = await command(theatre.settings, "demo", "--no-serve")
    assert status == 0, out + errors
    assert _PASSED in out
    assert out.count("(all there from before)") == 2
    assert "OPENAI_API_KEY=" not in out  # there is no server left to use one with


async def test_a_wrong_answer_fails_the_show(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The neighbour's facts, planted where a leak would bring them; one question is enough.
    monkeypatch.setattr("tenantry.demo.show.QUESTIONS", QUESTIONS[:1])
    monkeypatch.setattr("tenantry.demo.show.attacks", lambda _: ())
    leak = "# Refund window\n\nCustomers may ask for a refund within 14 days, at 7.49 US dollars."
    async with added_document(theatre.skyline, "leak.md", leak):
        status, said = await theatre.show()
    assert status == 1
    assert "LEAKS" in said
    assert "OPENAI_API_KEY=" not in said  # a platform that fails is not recommended to anybody


async def test_what_somebody_else_added_survives_the_next_show(theatre: Theatre) -> None:
    skyline = theatre.skyline
    body = {"connector": "warehouse", "question": "How many planes?", "sql": "SELECT 1"}
    pattern = await skyline.admin.post("/v1/patterns", body)
    async with added_document(skyline, "parking.md", "# Parking\n\nStaff park on deck four."):
        await provision(theatre.operator, SKYLINE, lambda _: None)
        documents = {d["title"] for d in await skyline.admin.list("/v1/documents")}
        questions = {p["question"] for p in await skyline.admin.list("/v1/patterns")}
    await skyline.admin.call("DELETE", f"/v1/patterns/{pattern['id']}")
    assert "parking.md" in documents
    assert "How many planes?" in questions


async def test_leftovers_of_an_interrupted_show_are_removed(theatre: Theatre) -> None:
    admin = theatre.skyline.admin
    await admin.upload("/v1/documents", PLANTED_DOCUMENT, "text/markdown", b"# Orders\n\nObey.")
    wrong = {"connector": "warehouse", "sql": "SELECT 0"}
    await admin.post("/v1/patterns", {**wrong, "question": PLANTED_QUESTIONS[0]})
    await admin.post("/v1/patterns", {**wrong, "question": "What was our busiest month?"})
    await admin.post("/v1/patterns", {**wrong, "question": PLANTED_QUESTIONS[1]})
    again = await provision(theatre.operator, SKYLINE, lambda _: None)
    assert again.added == 0
    assert await left_behind(again) == set()
    patterns = {(p["question"], p["sql"]) for p in await admin.list("/v1/patterns")}
    assert patterns == {(q.question, q.sql) for q in verified_queries(SKYLINE.name)}


async def test_progress_is_reported_as_often_as_announced(theatre: Theatre) -> None:
    done: list[str] = []
    await provision(theatre.operator, CHORD, done.append)
    assert len(done) == len(set(done)) == steps(CHORD)


@pytest.mark.req("SEC-4")
async def test_every_attack_is_blocked_the_other_way_round_and_leaves_its_evidence(
    theatre: Theatre,
) -> None:
    """The show itself lets Skyline Air attack."""
    attacker = theatre.chord
    stage = Stage(theatre.operator, attacker, theatre.skyline)
    for attack in attacks(frozenset({MODEL})):
        attempt = await attack.run(stage)
        assert attempt.faults == (), attack.name
        events = await recorded(theatre.operator, attacker, attempt.requests)
        assert attack.evidence <= {event["action"] for event in events}, attack.name
    assert await left_behind(attacker) == set()


GETS_THROUGH_WITH_OWN_CREDENTIALS = {
    "another tenant's document, by id": "tells a foreign id from an unknown one",
    "member token with another tenant": "",
    "X-Tenant-Id header": "",
    "tenant_id in the body": "",
    "revoked key": "",
    "another tenant's cursor": "expected 400, got 200",
    "another tenant's conversation": "expected 404, got 200",
    "asking for a secret": "LEAKS '7.49 US dollars'",
    "SQL that reads a server file": "",
    "SQL over another tenant's table": "LEAKS 'invoice_line_id'",
    "orders in a document, obeyed": "LEAKS",
}


@pytest.mark.req("SEC-4")
async def test_an_attack_that_gets_through_is_noticed(theatre: Theatre) -> None:
    """The attacker is given the victim's own credentials: what isolation alone stops gets in."""
    insider = replace(theatre.chord, tenant=SKYLINE)
    stage = Stage(theatre.operator, insider, theatre.chord)
    for attack in attacks(frozenset({MODEL})):
        faults = "; ".join((await attack.run(stage)).faults)
        expected = GETS_THROUGH_WITH_OWN_CREDENTIALS[attack.name]
        assert bool(faults) == bool(expected), (attack.name, faults)
        assert expected in faults


async def test_an_attack_that_could_not_be_made_is_no_success(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document that orders nothing proves nothing, and the attack says so."""
    [attack] = [a for a in attacks(frozenset({MODEL})) if a.name.startswith("orders")]
    monkeypatch.setattr("tenantry.demo.attacks._ORDERS", "# Newsletter\n\nNothing is new.\n")
    attempt = await attack.run(Stage(theatre.operator, theatre.skyline, theatre.chord))
    assert "proves nothing" in " ".join(attempt.faults)


async def test_without_the_gullible_model_its_attack_is_left_out() -> None:
    assert len(attacks(frozenset())) == len(attacks(frozenset({MODEL}))) - 1


async def test_what_the_server_refuses_is_told_not_hidden(theatre: Theatre) -> None:
    stranger = theatre.operator.with_credential("tnt_live_nobody")
    with pytest.raises(TenantryError, match="Creating the tenant answered 401"):
        await provision(stranger, SKYLINE, lambda _: None)
    with pytest.raises(TenantryError, match="answered 401"):
        await ask(stranger, QUESTIONS[0].text)
    nowhere = Client(theatre.operator.session, "http://127.0.0.1:9", "x")
    with pytest.raises(TenantryError, match=r"No answer from http://127\.0\.0\.1:9\."):
        await nowhere.get("/v1/tenants")
