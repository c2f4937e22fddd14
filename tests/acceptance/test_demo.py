"""The demo as a newcomer runs it: one command, on an empty data directory, and again."""

import asyncio
import re
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.acceptance.process import command, environment

pytestmark = [pytest.mark.req("USE-5"), pytest.mark.timeout(600)]


async def test_one_command_shows_it_all_and_the_next_one_leaves_a_server_running(
    deployment_dir: Path,
) -> None:
    settings = environment(deployment_dir, COLUMNS="120")
    status, out, errors = await command(settings, "demo", "--no-serve")
    assert status == 0, out + errors
    assert "12 answers and the books: no faults. Attacks: none got through." in out
    assert "\x1b" not in out + errors  # no terminal: no colours and no progress bar
    shows_both_answers(out)
    shows_attacks_and_books(out)
    await leaves_a_server_running(settings)


def shows_both_answers(out: str) -> None:
    assert "Skyline Air: 5 tables, 8 documents, 12 verified queries (25 added)" in out
    assert "Chord Store: 11 tables, 8 documents, 12 verified queries (31 added)" in out
    refund = out.partition("ask for a refund?”")[2].partition("“When is customer")[0]
    for fact in ("21 days", "14 days", "refunds-and-changes.md", "refunds-and-returns.md"):
        assert fact in refund
    assert len(re.findall(r"\$0\.0000\d+", refund)) == 2
    assert refund.count("right") == 2
    carrier = out.partition("“Which carrier flew")[2].partition("“Who is our best")[0]
    assert "58665" in carrier
    assert "I do not know" in carrier


def shows_attacks_and_books(out: str) -> None:
    assert out.count("blocked") >= 10
    for action in ("id.unknown", "key.refused", "query.refused", "request.tenant_header"):
        assert re.search(rf"#\d+ {action}", out), action
    assert "0 of them another tenant's" in out
    assert re.search(r"Audit log: [\d,]+ events in 3 chains, whole\.", out)


async def leaves_a_server_running(settings: dict[str, str]) -> None:
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
        assert said.count("(all there from before)") == 2
        base_url = said.partition("OPENAI_BASE_URL=")[2].split()[0]
        skyline, chord = re.findall(r"OPENAI_API_KEY=(\S+)", said)
        assert "21 days" in await answered(base_url, skyline)
        assert "14 days" in await answered(base_url, chord)
    finally:
        process.send_signal(signal.SIGINT)
        await process.communicate()


async def answered(base_url: str, key: str) -> str:
    question = "How many days do customers have to ask for a refund?"
    body = {"model": "analyst", "messages": [{"role": "user", "content": question}]}
    async with (
        aiohttp.ClientSession(headers={"authorization": f"Bearer {key}"}) as session,
        session.post(f"{base_url}/chat/completions", json=body) as response,
    ):
        assert response.status == 200
        return str((await response.json())["choices"][0]["message"]["content"])
