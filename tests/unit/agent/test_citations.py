"""Which sources an answer names."""

import pytest

from tenantry.agent.citations import cited, without_references
from tenantry.tools.base import Citation


def source(ref: str) -> Citation:
    return Citation(ref, "document", f"title of {ref}", "p. 1", 0, 9)


KNOWN = {ref: source(ref) for ref in ("doc:1", "doc:2", "query:1", "doc:12")}


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    ("answer", "refs"),
    [
        ("Fourteen days [doc:1].", ["doc:1"]),
        ("[query:1] says so, [doc:2] too, [query:1] again", ["query:1", "doc:2"]),
        ("Both [doc:2, doc:1; query:1].", ["doc:2", "doc:1", "query:1"]),
        ("Line\n[doc:12]", ["doc:12"]),
        ("doc:1 without brackets, (doc:1), [Doc:1], [ doc:1 ], [doc:01], [doc:0]", []),
        ("[doc:3] is invented, [doc:1x] is not one, [doc:1234567] neither", []),
        ("[doc:\u0661] is no digit of ours", []),
        ("[[doc:1]]", ["doc:1"]),
        ("", []),
    ],
)
def test_only_references_that_the_answer_names_and_a_tool_gave_are_cited(
    answer: str, refs: list[str]
) -> None:
    assert [citation.ref for citation in cited(answer, KNOWN)] == refs


def test_an_answer_of_brackets_alone_takes_no_time() -> None:
    assert cited("[doc:1" * 50_000, KNOWN) == ()
    assert cited("[doc:1, " * 50_000, KNOWN) == ()
    assert cited("[doc:1" + "   ,   doc:1" * 20_000, KNOWN) == ()


def test_taking_references_out_leaves_the_text_around_them() -> None:
    assert without_references("A [doc:1]. B[query:2]  C [x]") == "A. B  C [x]"
