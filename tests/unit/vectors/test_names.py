"""Codes and names are told from words, in passages and in questions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.vectors.names import asked_names, names_of


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Replace the seal, part KX-SL-220, at once.", "kxsl220"),
        ("Ask Nancy Edwards. She knows.", "nancy edwards"),
        ("The manager is out. Nobody answers.", ""),
        ("Call 2125550142 or read `time_hour`.", "2125550142 timehour"),
        ("SEV1 and SEV1 again: the IEEE decides.", "sev1 ieee"),
        ("", ""),
        ("...", ""),
    ],
)
def test_a_passage_keeps_its_codes_and_names_once(text: str, names: str) -> None:
    assert names_of(text) == names


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("What does E-1401 mean?", ["e1401"]),
        ("Quilon payroll", ["quilon"]),
        ("Who is Nancy Edwards?", ["nancy", "edwards"]),
        ("When do we open?", []),
        ("how heavy may my suitcase be", []),
    ],
)
def test_a_question_names_what_is_looked_for_by_letter(question: str, names: list[str]) -> None:
    assert asked_names(question) == names


@pytest.mark.req("VEC-3")
@given(st.text(max_size=400))
def test_any_text_has_bounded_names(text: str) -> None:
    assert len(names_of(text)) <= 2000
    assert len(asked_names(text)) <= 8
