"""Two questions are one only when nothing that turns a question round differs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.providers.matching import Likeness

LIKENESS = Likeness(same_words=0.90, some_words=0.95, one_word=0.985)


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        ("What was our busiest month?", "What was our quietest month?"),
        ("How many flights were cancelled?", "How many flights were not cancelled?"),
        ("How many flights weren't cancelled?", "How many flights were cancelled?"),
        ("How many flights weren\u2019t cancelled?", "How many flights were cancelled?"),
        ("How many tracks were sold?", "How many tracks were never sold?"),
        ("What is our revenue per month?", "What is our revenue per year?"),
        ("What was our revenue in 2012?", "What was our revenue in 2013?"),
        ("What was our revenue in 2012?", "What was our revenue?"),
        ("What are the top ten airports?", "What are the top five airports?"),
        ("What are the 10 best airports?", "What are the 5 best airports?"),
        ("Which carrier flew the fewest flights?", "Which carrier flew the most flights?"),
        ("What was our revenue in March?", "What was our revenue in July?"),
        ("How many flights left on Monday?", "How many flights left on Friday?"),
        ("What is the average delay?", "What is the median delay?"),
        ("Who was our first customer?", "Who was our last customer?"),
        ("Who is our second best customer?", "Who is our best customer?"),
    ],
)
def test_a_question_turned_round_is_another_at_any_similarity(asked: str, known: str) -> None:
    similarity = 0.984 if "second" in asked else 1.0
    assert not LIKENESS.same_question(asked, known, similarity)
    assert not LIKENESS.same_question(known, asked, similarity)


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        ("What was the busiest month for us?", "What was our busiest month?"),
        ("Show me our top 5 destinations", "What are our top five destinations?"),
        ("How many FLIGHTS do we have altogether", "How many flights are there in total?"),
        ("What's our annual revenue?", "What is our yearly revenue?"),
        ("Wie viele Flüge gab es 2013?", "Wie viele Flüge gab es 2013?"),
    ],
)
def test_other_small_words_do_not_matter(asked: str, known: str) -> None:
    assert LIKENESS.same_question(asked, known, 0.90)
    assert not LIKENESS.same_question(asked, known, 0.89)


@pytest.mark.parametrize(
    ("asked", "known", "least"),
    [
        ("Does snow delay flights?", "Does rain delay flights?", 0.985),
        ("What was revenue in Brazil?", "What was revenue?", 0.985),
        ("How many flights?", "How many cancelled flights?", 0.985),
        ("Which airline operated flights?", "Which carrier flew flights?", 0.95),
    ],
)
def test_words_that_differ_ask_for_more_similarity(asked: str, known: str, least: float) -> None:
    assert LIKENESS.same_question(asked, known, least)
    assert not LIKENESS.same_question(asked, known, least - 0.001)


@given(st.text(max_size=60), st.text(max_size=60), st.floats(-1, 1))
def test_order_does_not_matter_and_nothing_breaks(one: str, other: str, similarity: float) -> None:
    forth = LIKENESS.same_question(one, other, similarity)
    assert forth == LIKENESS.same_question(other, one, similarity)


@given(st.text(max_size=60))
def test_a_question_is_itself(question: str) -> None:
    assert LIKENESS.same_question(question, question, 1.0)


@given(st.floats(max_value=0.899) | st.just(float("nan")))
def test_too_little_similarity_is_never_enough(similarity: float) -> None:
    assert not LIKENESS.same_question("How many?", "How many?", similarity)
