"""Each verified query is run, and its answer compared with one worked out in Python from the raw
data, without SQL: a verified query that is wrong would be a wrong answer with a seal on it.
"""

import csv
import io
import zipfile
from collections import Counter
from collections.abc import Iterable
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot
from sqlglot import exp

from tenantry.connectors.sql_guard import Approved, Scope, check
from tenantry.demo.datasets import chinook_records, flights_file, plans, table_files
from tenantry.demo.script import CHORD, QUESTIONS, SKYLINE, TENANTS
from tenantry.demo.verified import verified_queries

pytestmark = pytest.mark.req("USE-5", "MEM-1")

Row = dict[str, Any]
Answer = list[tuple[Any, ...]]


def mean(values: Iterable[Any], digits: int) -> float:
    numbers = [Fraction(v) for v in values]
    exact = sum(numbers, Fraction(0)) / len(numbers)
    return rounded(exact, digits)


def rounded(value: Fraction, digits: int) -> float:
    decimal = Decimal(value.numerator) / Decimal(value.denominator)
    return float(decimal.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def read(name: str) -> list[Row]:
    path = flights_file(name)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            text = archive.read(path.stem).decode()
    else:
        text = path.read_text()
    return list(csv.DictReader(io.StringIO(text)))


def skyline_answers() -> dict[str, Answer]:
    flights, airlines = read("flights.csv.zip"), read("airlines.csv")
    names = {a["carrier"]: a["name"] for a in airlines}
    airports = {a["faa"]: a["name"] for a in read("airports.csv")}
    by_month = Counter(int(f["month"]) for f in flights)
    [(month, month_flights)] = by_month.most_common(1)
    carriers = Counter(names[f["carrier"]] for f in flights)
    origins = Counter(f["origin"] for f in flights)
    cancelled = sum(f["dep_time"] == "NA" for f in flights)
    arrived = [int(f["arr_delay"]) for f in flights if f["arr_delay"] != "NA"]
    longest = max(flights, key=lambda f: int(f["distance"]))
    return {
        "How many flights are there in total?": [(len(flights),)],
        "What was our busiest month?": [
            (date(2013, month, 1).strftime("%B %Y"), month_flights),
        ],
        "Which carrier flew the most flights?": carriers.most_common(1),
        "Which carrier has the longest average departure delay?": [
            slowest(flights, lambda f: names[f["carrier"]])
        ],
        "How many flights left from each New York airport?": [
            (origin, airports[origin], count) for origin, count in origins.most_common()
        ],
        "What are the five most popular destinations?": Counter(
            f["dest"] for f in flights
        ).most_common(5),
        "How many flights were cancelled?": [
            (cancelled, rounded(Fraction(100 * cancelled, len(flights)), 2))
        ],
        "What share of flights arrived on time?": [
            (rounded(Fraction(100 * sum(d < 15 for d in arrived), len(arrived)), 1),)
        ],
        "Which day of the year had the worst departure delays?": [
            slowest(flights, lambda f: date(int(f["year"]), int(f["month"]), int(f["day"])))
        ],
        "What is the longest route we fly?": [
            (longest["origin"], longest["dest"], int(longest["distance"]))
        ],
        "Which aircraft manufacturer built most of the planes?": Counter(
            p["manufacturer"] for p in read("planes.csv")
        ).most_common(1),
        "Does rain make departures later?": by_weather(flights),
    }


def slowest(flights: list[Row], key: Any) -> tuple[Any, float]:
    delays: dict[Any, list[str]] = {}
    for flight in flights:
        if flight["dep_delay"] != "NA":
            delays.setdefault(key(flight), []).append(flight["dep_delay"])
    means = {k: mean(v, 1) for k, v in delays.items()}
    best = max(means, key=lambda k: means[k])
    assert sum(m == means[best] for m in means.values()) == 1, "the answer must not hang on a tie"
    return best, means[best]


def by_weather(flights: list[Row]) -> Answer:
    rain = {(w["origin"], w["time_hour"]): Decimal(w["precip"]) > 0 for w in read("weather.csv")}
    delays: dict[str, list[str]] = {"rain": [], "dry": []}
    for flight in flights:
        hour = (flight["origin"], flight["time_hour"])
        if flight["dep_delay"] != "NA" and hour in rain:
            delays["rain" if rain[hour] else "dry"].append(flight["dep_delay"])
    return [(kind, len(values), mean(values, 1)) for kind, values in delays.items()]


def chord_answers() -> dict[str, Answer]:
    tables = {model.removeprefix("chinook."): rows for model, rows in chinook_records().items()}
    keyed = {model: {row["pk"]: row for row in rows} for model, rows in tables.items()}
    invoices, lines = tables["invoice"], tables["invoiceline"]
    totals = [Decimal(i["total"]) for i in invoices]
    customers, employees = keyed["customer"], keyed["employee"]

    def revenue(key: Any) -> list[tuple[Any, Decimal]]:
        sums: dict[Any, Decimal] = {}
        for invoice in invoices:
            sums[key(invoice)] = sums.get(key(invoice), Decimal(0)) + Decimal(invoice["total"])
        return sorted(sums.items(), key=lambda item: -item[1])

    def sold(key: Any) -> list[tuple[Any, int]]:
        counts: Counter[Any] = Counter()
        for line in lines:
            counts[key(keyed["track"][line["track"]])] += line["quantity"]
        return counts.most_common()

    def name(person: Row) -> str:
        return f"{person['firstname']} {person['lastname']}"

    [(month, month_revenue), *_] = revenue(lambda i: i["invoicedate"][:7])
    [(best, best_revenue), *_] = revenue(lambda i: i["customer"])
    agents = revenue(lambda i: customers[i["customer"]]["support_rep"])
    lengths: Counter[int] = Counter()
    for track in tables["track"]:
        lengths[track["album"]] += track["milliseconds"]
    [(album, milliseconds)] = lengths.most_common(1)
    countries = Counter(c["country"] for c in tables["customer"])
    return {
        "What was our total revenue?": [(sum(totals), len(totals))],
        "What was our busiest month?": [
            (date.fromisoformat(f"{month}-01").strftime("%B %Y"), month_revenue)
        ],
        "Who is our best customer?": [
            (name(customers[best]), customers[best]["country"], best_revenue)
        ],
        "Which country brings in the most revenue?": revenue(lambda i: i["billingcountry"])[:1],
        "Which genre sells best?": sold(lambda t: keyed["genre"][t["genre"]]["name"])[:1],
        "Which artists sell the most tracks?": sold(
            lambda t: keyed["artist"][keyed["album"][t["album"]]["artist"]]["name"]
        )[:3],
        "What is our revenue per year?": sorted(revenue(lambda i: int(i["invoicedate"][:4]))),
        "Which support agent looks after the most revenue?": [
            (name(employees[agents[0][0]]), agents[0][1])
        ],
        "What is the average amount of an invoice?": [(mean(totals, 2),)],
        "How many tracks have never been sold?": [
            (len(keyed["track"].keys() - {line["track"] for line in lines}),)
        ],
        "How many customers do we have in each country?": sorted(
            countries.items(), key=lambda item: (-item[1], item[0])
        )[:5],
        "Which album is the longest?": [
            (keyed["album"][album]["title"], rounded(Fraction(milliseconds, 60000), 1))
        ],
    }


ANSWERS = {SKYLINE.name: skyline_answers, CHORD.name: chord_answers}
QUERIES = [(t.name, q.question, q.sql) for t in TENANTS for q in verified_queries(t.name)]


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, duckdb.DuckDBPyConnection]:
    folder = tmp_path_factory.mktemp("demo")
    connections = {t.name: duckdb.connect() for t in TENANTS}
    for tenant, connection in connections.items():
        for file in table_files(tenant):
            path = Path(folder, file.filename)
            path.write_bytes(file.content)
            connection.execute(f"CREATE TABLE {file.name} AS FROM '{path}'")
    return connections


@pytest.fixture(scope="module")
def answers() -> dict[str, dict[str, Answer]]:
    return {tenant: work_out() for tenant, work_out in ANSWERS.items()}


@pytest.mark.parametrize(("tenant", "question", "sql"), QUERIES)
def test_the_query_gives_what_python_works_out_from_the_raw_data(
    tenant: str,
    question: str,
    sql: str,
    databases: dict[str, duckdb.DuckDBPyConnection],
    answers: dict[str, dict[str, Answer]],
) -> None:
    assert databases[tenant].execute(sql).fetchall() == answers[tenant][question]


@pytest.mark.req("CON-3")
@pytest.mark.parametrize(("tenant", "question", "sql"), QUERIES)
def test_the_query_as_the_guard_rewrites_it_gives_the_same(
    tenant: str,
    question: str,
    sql: str,
    databases: dict[str, duckdb.DuckDBPyConnection],
    answers: dict[str, dict[str, Answer]],
) -> None:
    approved = check(sql, Scope("duckdb", [(plan.name,) for plan in plans(tenant)], 500))
    assert isinstance(approved, Approved), approved
    assert databases[tenant].execute(approved.sql).fetchall() == answers[tenant][question]


@pytest.mark.parametrize("tenant", [t.name for t in TENANTS])
def test_every_worked_out_answer_belongs_to_a_query(
    tenant: str, answers: dict[str, dict[str, Answer]]
) -> None:
    assert [q.question for q in verified_queries(tenant)] == list(answers[tenant])


@pytest.mark.parametrize(("tenant", "question", "sql"), QUERIES)
def test_the_query_is_one_select_over_its_own_tenants_tables(
    tenant: str, question: str, sql: str
) -> None:
    [statement] = sqlglot.parse(sql, dialect="duckdb")
    assert isinstance(statement, exp.Select)
    tables = {table.name for table in statement.find_all(exp.Table)}
    assert tables <= {plan.name for plan in plans(tenant)}


def test_the_facts_that_the_demo_expects_are_in_the_worked_out_answers(
    answers: dict[str, dict[str, Answer]],
) -> None:
    checked = 0
    for question in QUESTIONS:
        for tenant, expected in question.expected.items():
            if question.text in answers[tenant]:
                cells = " ".join(str(c) for row in answers[tenant][question.text] for c in row)
                assert all(fact in cells for fact in expected.facts)
                checked += 1
    assert checked == 4


def test_a_question_that_only_one_tenant_can_answer_is_verified_for_that_one_only() -> None:
    asked = {t.name: {q.question for q in verified_queries(t.name)} for t in TENANTS}
    for question in QUESTIONS:
        for tenant, expected in question.expected.items():
            if not expected.facts:
                assert question.text not in asked[tenant]


def test_the_shared_question_has_different_sql_for_each_tenant() -> None:
    [skyline, chord] = (
        {q.question: q.sql for q in verified_queries(t.name)}["What was our busiest month?"]
        for t in (SKYLINE, CHORD)
    )
    assert skyline != chord
