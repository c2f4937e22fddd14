"""Sentences are the document's own words, cut where they end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.providers.sentences import MOST_SENTENCE_CHARS, sentences_of


@pytest.mark.parametrize(
    ("passage", "sentences"),
    [
        ("One thing is this. Another is that!", ["One thing is this.", "Another is that!"]),
        ("A sentence wrapped\nover two lines. Next one.", [
            "A sentence wrapped over two lines.", "Next one."]),
        ("Fees, e.g. 40 US dollars, apply. See Dr. Who.", [
            "Fees, e.g. 40 US dollars, apply.", "See Dr. Who."]),
        ("It costs 4.5 percent of 1.000 dollars.", ["It costs 4.5 percent of 1.000 dollars."]),
        ("He asked “Is it so?” And it was.", ["He asked “Is it so?”", "And it was."]),
        ("# A heading\n\nThe text below it.", ["The text below it."]),
        ("- first item here\n- second item\n  goes on", [
            "- first item here", "- second item goes on"]),
        ("| fee | amount |\n| --- | --- |\n| change | 50 |", [
            "| fee | amount |", "| change | 50 |"]),
        ("1. open the door\n2. close the door", ["1. open the door", "2. close the door"]),
        ("--------\n=======", []),
        ("Yes. No.", []),
        ("退款期限为三十天。之后不再受理申请。", ["退款期限为三十天。", "之后不再受理申请。"]),
        ("", []),
    ],
)  # fmt: skip
def test_passages_are_cut_where_sentences_end(passage: str, sentences: list[str]) -> None:
    assert sentences_of(passage) == sentences


@given(st.text(max_size=400))
def test_every_sentence_stands_in_the_passage_word_for_word(passage: str) -> None:
    words = " ".join(passage.split())
    for sentence in sentences_of(passage):
        assert sentence in words
        assert "\n" not in sentence
        assert len(sentence) <= MOST_SENTENCE_CHARS


def test_a_text_without_an_end_is_no_sentence() -> None:
    assert sentences_of("word " * 1000) == []
