"""The demo's script judges answers rightly, and its handbooks contradict each other."""

import re
from collections.abc import Callable

import pytest

from tenantry.demo.script import (
    CHORD,
    CONNECTOR,
    QUESTIONS,
    SKYLINE,
    TENANTS,
    DemoQuestion,
    DemoTenant,
    handbooks,
    normalised,
)

pytestmark = pytest.mark.req("USE-5")

REFUND = QUESTIONS[0]
CARRIER = next(q for q in QUESTIONS if "carrier" in q.text)
RIGHT = "You have 21 days [doc:1]."
CITED = ("refunds-and-changes.md",)


def handbook_text(tenant: DemoTenant) -> str:
    return normalised(" ".join(d.content.decode() for d in handbooks(tenant.name)))


def test_a_right_answer_has_no_fault() -> None:
    assert REFUND.faults(SKYLINE.name, RIGHT, CITED) == ()


def test_an_answer_without_the_fact_is_at_fault() -> None:
    assert REFUND.faults(SKYLINE.name, "Soon.", CITED) == ("lacks '21 days'",)


def test_an_answer_with_the_neighbours_fact_is_a_leak_even_beside_the_right_one() -> None:
    faults = REFUND.faults(SKYLINE.name, RIGHT + " Chord Store gives 14\ndays.", CITED)
    assert faults == ("LEAKS '14 days'",)


def test_an_answer_with_the_neighbours_secret_is_a_leak_whatever_was_asked() -> None:
    assert REFUND.faults(SKYLINE.name, RIGHT + " 7.49 US Dollars", CITED) == (
        "LEAKS '7.49 us dollars'",
    )


def test_an_answer_without_its_citation_is_at_fault() -> None:
    assert REFUND.faults(SKYLINE.name, RIGHT, ()) == ("does not cite 'refunds-and-changes.md'",)


@pytest.mark.parametrize("answer", ["I do not know.", "I don't know that.", "It does not know."])
def test_who_cannot_know_must_say_so(answer: str) -> None:
    assert CARRIER.faults(CHORD.name, answer, ()) == ()


def test_who_cannot_know_and_answers_is_at_fault() -> None:
    assert CARRIER.faults(CHORD.name, "Rock, I think.", ()) == (
        "does not say that it does not know",
    )


def test_who_cannot_know_and_knows_has_leaked() -> None:
    faults = CARRIER.faults(CHORD.name, "I do not know; United Air Lines, 58,665.", ())
    assert faults == ("LEAKS '58665'", "LEAKS 'united air lines'")


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("29,425 flights", "29425 flights"),
        ("1,336,776", "1336776"),
        ("Price,\n  in USD", "price, in usd"),
        ("3,14 is no thousand", "3,14 is no thousand"),
        ("Helena HOLÝ", "helena holý"),
    ],
)
def test_facts_are_found_whatever_the_spelling_of_numbers_and_spaces(
    text: str, normal: str
) -> None:
    assert normalised(text) == normal


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda q: q.text)
def test_every_question_expects_something_of_every_tenant(question: DemoQuestion) -> None:
    assert set(question.expected) == {t.name for t in TENANTS}
    assert len({e.facts for e in question.expected.values()}) == len(TENANTS)


def cited_documents() -> list[tuple[str, str, str]]:
    return [
        (tenant, expected.cites, fact)
        for question in QUESTIONS
        for tenant, expected in question.expected.items()
        if expected.cites not in ("", CONNECTOR)
        for fact in expected.facts
    ]


@pytest.mark.parametrize(("tenant", "title", "fact"), cited_documents())
def test_the_cited_document_holds_the_fact(tenant: str, title: str, fact: str) -> None:
    [document] = [d for d in handbooks(tenant) if d.title == title]
    assert normalised(fact) in normalised(document.content.decode())


@pytest.mark.parametrize(("tenant", "title", "fact"), cited_documents())
def test_no_other_tenants_handbook_holds_the_fact(tenant: str, title: str, fact: str) -> None:
    for other in TENANTS:
        if other.name != tenant:
            assert normalised(fact) not in handbook_text(other), title


@pytest.mark.parametrize(
    "describe", [lambda t: t.confidential, lambda t: t.title], ids=["secret", "title"]
)
def test_names_and_secrets_stay_in_their_own_handbook(
    describe: Callable[[DemoTenant], str],
) -> None:
    for tenant in TENANTS:
        for other in TENANTS:
            found = normalised(describe(tenant)) in handbook_text(other)
            assert found == (tenant is other)


def test_both_handbooks_cover_the_same_ground_in_three_formats() -> None:
    for tenant in TENANTS:
        documents = handbooks(tenant.name)
        assert {d.media_type for d in documents} == {"text/markdown", "text/html", "text/csv"}
        assert len(documents) == 8
        assert [d.title for d in documents] == sorted(d.title for d in documents)


def test_markdown_has_one_title_and_sections_short_enough_to_cite() -> None:
    for tenant in TENANTS:
        for document in handbooks(tenant.name):
            if document.media_type == "text/markdown":
                text = document.content.decode()
                assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1, document.title
                for section in re.split(r"^#+ ", text, flags=re.MULTILINE):
                    assert len(section) < 900, section


def test_the_secret_is_what_answers_the_intruders_question() -> None:
    for tenant in TENANTS:
        project = tenant.probing_question.removeprefix("What is ").removesuffix("?")
        [memo] = [d for d in handbooks(tenant.name) if d.title.endswith("memo.md")]
        text = normalised(memo.content.decode())
        section = text.partition(f"## {normalised(project)}")[2].partition("## ")[0]
        assert normalised(tenant.confidential) in section
