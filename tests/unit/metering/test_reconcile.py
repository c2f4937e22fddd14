"""A provider's export is read whole, or its bad lines are named."""

import io
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.metering.reconcile import Export, Problem, ProviderEntry, read_export
from tenantry.metering.usage import TokenUsage

HEADER = "call_id,upstream_id,input_tokens,output_tokens,cached_tokens,reasoning_tokens"


def read(*lines: str, header: str = HEADER) -> Export:
    return read_export(io.StringIO("\n".join([header, *lines])))


@pytest.mark.req("COST-3")
def test_calls_are_named_by_our_id_or_by_the_providers() -> None:
    ours = uuid4()
    export = read(f"{str(ours).upper()},,10,20,3,4", ",chatcmpl-9,1,2,,")
    assert export == Export(
        (
            ProviderEntry(2, str(ours), TokenUsage(10, 3, 20, 4)),
            ProviderEntry(3, "chatcmpl-9", TokenUsage(1, 0, 2, 0)),
        ),
        (),
    )


@pytest.mark.req("COST-3")
def test_more_columns_and_another_order_do_no_harm() -> None:
    export = read("2026,2,x,1", header="day,output_tokens,upstream_id,input_tokens")
    assert export.entries == (ProviderEntry(2, "x", TokenUsage(1, 0, 2)),)


@pytest.mark.req("COST-3")
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (",,1,2,,", "no call_id or upstream_id"),
        ("nonsense,,1,2,,", "call_id is not an id of ours"),
        (",a,,2,,", "input_tokens is not a whole number"),
        (",a,1,,,", "output_tokens is not a whole number"),
        (",a,-1,2,,", "input_tokens is not a whole number"),
        (",a,1.5,2,,", "input_tokens is not a whole number"),
        (",a,1_0,2,,", "input_tokens is not a whole number"),
        (",a,٣,2,,", "input_tokens is not a whole number"),
        (",a,NaN,2,,", "input_tokens is not a whole number"),
        (",a,1,9999999999999,,", "output_tokens is not a whole number"),
        (",a,1,2,5,", "the figures contradict each other"),
        (",a,1,2,,5", "the figures contradict each other"),
        (",a,1,9999999999,,", "the figures contradict each other"),
        (",a", "input_tokens is not a whole number"),
    ],
)
def test_a_bad_line_is_named_with_its_number_and_reason(line: str, reason: str) -> None:
    export = read(",good,1,1,,", line)
    assert export.problems == (Problem(3, reason),)


@pytest.mark.req("COST-3")
def test_a_call_twice_is_a_problem_of_the_second_line() -> None:
    export = read(",a,1,1,,", ",b,1,1,,", ",a,2,2,,")
    assert export.problems == (Problem(4, "the call is on line 2 already"),)


@pytest.mark.req("COST-3")
@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("input_tokens,output_tokens", "missing column: call_id or upstream_id"),
        ("call_id,output_tokens", "missing column: input_tokens"),
        ("", "missing column: call_id or upstream_id, input_tokens, output_tokens"),
    ],
)
def test_missing_columns_are_named(header: str, reason: str) -> None:
    assert read("1,2", header=header) == Export((), (Problem(1, reason),))


@pytest.mark.req("COST-3")
def test_a_broken_quote_is_a_problem_and_not_a_crash() -> None:
    (problem,) = read(',"a,1,2,,').problems
    assert problem.reason.startswith("not CSV")


@pytest.mark.req("COST-3")
@given(st.text())
def test_no_file_makes_the_reader_fail(text: str) -> None:
    export = read_export(io.StringIO(f"{HEADER}\n{text}"))
    assert all(entry.usage == entry.usage.plausible() for entry in export.entries)
