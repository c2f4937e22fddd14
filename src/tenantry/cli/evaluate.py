"""`tenantry eval sql`: how well an assistant's model answers questions out of tables."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import click
import orjson

from tenantry.cli.client import Client
from tenantry.cli.output import json_option, print_json, show_rows
from tenantry.demo.golden import (
    SETS,
    GoldenQuestion,
    golden_questions,
    golden_tables,
    same_answer,
)

_MOST_ROWS = 10_000
_CONNECTOR = "golden-{}"
Verdict = Literal["right", "wrong", "no query", "failed"]


@dataclass(frozen=True, slots=True)
class Scored:
    """What came of one question.

    Attributes:
        verdict: `no query` when the model asked no table, `failed` when its SQL does not run.
        sql: the last statement that the model ran.
    """

    set: str
    number: int
    verdict: Verdict
    question: str
    sql: str


@click.group("eval")
def evaluate() -> None:
    """Measure the quality of answers."""


@evaluate.command("sql")
@click.option("--assistant", default="analyst", show_default=True, help="Whose model is measured.")
@click.option("--set", "sets", multiple=True, type=click.Choice(SETS), help="Only this set.")
@click.option("--first", type=click.IntRange(min=1), help="Only so many questions of each set.")
@click.option("--load", is_flag=True, help="Upload the sets' tables first, if they are missing.")
@click.option(
    "--at-least",
    type=click.FloatRange(0, 100),
    default=0.0,
    help="Exit with status 1 when fewer percent are right.",
)
@json_option
def sql(
    assistant: str,
    sets: tuple[str, ...],
    first: int | None,
    load: bool,
    at_least: float,
    as_json: bool,
) -> None:
    """Ask the golden questions over Chinook and TPC-H; score answers by execution match.

    Every question goes to the assistant as any member's would; the rows of its last query are
    compared with those of the gold SQL. The tables are connectors of the tenant of
    TENANTRY_API_KEY, named golden-chinook and golden-tpch.
    """
    client = Client.from_environment()
    scored: list[Scored] = []
    for name in sets or SETS:
        connector = _connector(client, name, load=load)
        questions = golden_questions(name)[:first]
        with click.progressbar(questions, label=name, file=sys.stderr) as progress:
            scored += [_score(client, assistant, connector, question) for question in progress]
    right = sum(one.verdict == "right" for one in scored)
    percent = 100.0 * right / len(scored)
    _report(scored, right, percent, as_json=as_json)
    if percent < at_least:
        raise click.exceptions.Exit(1)


def _report(scored: Sequence[Scored], right: int, percent: float, *, as_json: bool) -> None:
    rows = [asdict(one) for one in scored]
    if as_json:
        print_json({"right": right, "of": len(scored), "percent": percent, "questions": rows})
        return
    show_rows(rows, False, ("set", "number", "verdict", "question"))
    click.echo(f"{right} of {len(scored)} right ({percent:.1f} %)")


def _score(client: Client, assistant: str, connector: str, golden: GoldenQuestion) -> Scored:
    gold = _rows(client, connector, golden.sql)
    asked = f"{golden.question} (Use the connector {_CONNECTOR.format(golden.set)}.)"
    body = {"model": assistant, "messages": [{"role": "user", "content": asked}]}
    answer = client.post("/v1/chat/completions", body)
    statements = list(_statements(client, answer["tenantry"]["conversation_id"]))
    verdict: Verdict = "no query"
    if statements:
        try:
            found = _rows(client, connector, statements[-1])
            verdict = "right" if same_answer(gold, found) else "wrong"
        except click.ClickException:
            verdict = "failed"
    last = statements[-1] if statements else ""
    return Scored(golden.set, golden.number, verdict, golden.question, last)


def _statements(client: Client, conversation: str) -> Iterator[str]:
    """The SQL that ran for an answer, in order."""
    for call in client.get(f"/v1/conversations/{conversation}")["tool_calls"]:
        if call["tool"] == "query_data" and call["outcome"] == "ok":
            yield str(orjson.loads(call["arguments"])["sql"])


def _rows(client: Client, connector: str, statement: str) -> list[list[Any]]:
    path = f"/v1/connectors/{connector}/query"
    rows: list[list[Any]] = client.post(path, {"sql": statement, "max_rows": _MOST_ROWS})["rows"]
    return rows


def _connector(client: Client, name: str, *, load: bool) -> str:
    wanted = _CONNECTOR.format(name)
    known = {each["name"]: str(each["id"]) for each in client.every("/v1/connectors")}
    if not load:
        if wanted not in known:
            raise click.ClickException(f"There is no connector {wanted}. Run again with --load.")
        return known[wanted]
    if wanted not in known:
        known[wanted] = client.post("/v1/connectors", {"name": wanted, "kind": "files"})["id"]
    _load(client, known[wanted], name)
    return known[wanted]


def _load(client: Client, connector: str, name: str) -> None:
    path = f"/v1/connectors/{connector}/tables"
    present = {each["name"] for each in client.get(path)["data"]}
    for table in golden_tables(name):
        if table.name not in present:
            fields = {"table": table.name, "description": table.description}
            client.upload(path, table.filename, table.content, fields)
