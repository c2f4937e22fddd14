"""Results too large for a prompt: whole, their member's alone, and gone in time."""

import csv
import gzip
import io
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.connectors.base import QueryResult
from tenantry.connectors.result_files import ResultFiles, csv_text
from tenantry.core.errors import NotFound, TooLarge
from tenantry.core.events import Json
from tests.worlds import World

FIRST = UUID(int=0)


def result(rows: int = 3, *, truncated: bool = False) -> QueryResult:
    """A result of two columns."""
    values: tuple[tuple[Json, ...], ...] = tuple((n, f"row {n}") for n in range(rows))
    return QueryResult(("n", "text"), values, "SELECT n, text FROM t", truncated, 5, 100)


@pytest.fixture
def results(world: World) -> ResultFiles:
    """Kept results over the world's database."""
    return ResultFiles(world.db)


@pytest.mark.req("CON-3")
async def test_a_result_is_kept_whole_and_read_back(world: World, results: ResultFiles) -> None:
    kept = await results.keep(world.acme, "warehouse", result())
    assert (kept.row_count, kept.is_whole, kept.connector) == (3, True, "warehouse")
    text = await results.content(world.acme, kept.result_id)
    assert len(text) == kept.size_bytes
    assert list(csv.reader(io.StringIO(text.decode()))) == [
        ["n", "text"],
        ["0", "row 0"],
        ["1", "row 1"],
        ["2", "row 2"],
    ]
    assert await results.get(world.acme, kept.result_id) == kept


@pytest.mark.req("CON-3")
async def test_a_result_that_was_cut_says_so(world: World, results: ResultFiles) -> None:
    kept = await results.keep(world.acme, "warehouse", result(truncated=True))
    assert not kept.is_whole


@pytest.mark.req("DB-1", "SEC-4")
async def test_a_neighbours_and_an_unknown_result_are_alike(
    world: World, results: ResultFiles
) -> None:
    theirs = await results.keep(world.globex, "warehouse", result())
    for unknown in (theirs.result_id, uuid4()):
        for attempt in (results.get, results.content, results.remove):
            with pytest.raises(NotFound):
                await attempt(world.acme, unknown)
    assert await results.list_own(world.acme, FIRST, 10) == []
    assert await results.get(world.globex, theirs.result_id) == theirs


@pytest.mark.req("SEC-4")
async def test_a_colleagues_result_is_not_there(world: World, results: ResultFiles) -> None:
    kept = await results.keep(world.acme, "warehouse", result())
    actor = replace(world.acme.actor, id=uuid4())
    colleague = world.mint.mint(
        world.acme.tenant, actor, world.acme.scopes, "other", world.acme.deadline
    )
    for attempt in (results.get, results.content, results.remove):
        with pytest.raises(NotFound):
            await attempt(colleague, kept.result_id)
    assert await results.list_own(colleague, FIRST, 10) == []
    assert await results.list_own(world.acme, FIRST, 10) == [kept]


@pytest.mark.req("CON-3")
async def test_expired_results_are_gone_before_and_after_they_are_removed(
    world: World, results: ResultFiles
) -> None:
    old = await results.keep(world.acme, "warehouse", result())
    fresh = await results.keep(world.acme, "warehouse", result())
    theirs = await results.keep(world.globex, "warehouse", result())
    with world.admin() as admin:
        admin.execute(
            "UPDATE tenantry.result_files SET expires_at = now() WHERE result_id = ANY (%s)",
            [[old.result_id, theirs.result_id]],
        )
    with pytest.raises(NotFound):
        await results.content(world.acme, old.result_id)
    assert await results.list_own(world.acme, FIRST, 10) == [fresh]
    assert await results.remove_expired(world.acme) == 1
    with world.admin() as admin:
        left = admin.execute("SELECT result_id FROM tenantry.result_files").fetchall()
    assert {row[0] for row in left} == {fresh.result_id, theirs.result_id}


@pytest.mark.req("CON-3")
async def test_one_tenants_ceiling_is_its_own(
    world: World, results: ResultFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(gzip.compress(csv_text(*_parts(result())), 6))
    monkeypatch.setattr("tenantry.connectors.result_files._MOST_BYTES", size + size // 2)
    first = await results.keep(world.acme, "warehouse", result())
    with pytest.raises(TooLarge, match="ceiling"):
        await results.keep(world.acme, "warehouse", result())
    await results.keep(world.globex, "warehouse", result())
    await results.remove(world.acme, first.result_id)
    await results.keep(world.acme, "warehouse", result())


def _parts(kept: QueryResult) -> tuple[tuple[str, ...], tuple[tuple[Json, ...], ...]]:
    return kept.columns, kept.rows


@pytest.mark.req("SEC-2")
@pytest.mark.parametrize("cell", ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_cell_that_a_spreadsheet_would_run_is_quoted(cell: str) -> None:
    text = csv_text(["a"], [[cell]]).decode()
    (_, (read,)) = csv.reader(io.StringIO(text, newline=""))
    assert read == f"'{cell}"


@pytest.mark.req("CON-3")
def test_numbers_dates_json_and_nothing_keep_their_form() -> None:
    row: list[Json] = [-5, "-5.25", 1.5, True, None, "2026-01-02", {"a": [1]}]
    (line,) = list(csv.reader(io.StringIO(csv_text(list("abcdefg"), [row]).decode())))[1:]
    assert line == ["-5", "-5.25", "1.5", "true", "", "2026-01-02", '{"a":[1]}']


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2)))
@pytest.mark.req("SEC-2")
def test_every_text_comes_back_and_none_starts_a_formula(rows: list[list[str]]) -> None:
    text = csv_text(["a", "b"], rows).decode()
    read = list(csv.reader(io.StringIO(text, newline="")))[1:]
    assert len(read) == len(rows)
    for given_row, found in zip(rows, read, strict=True):
        for value, cell in zip(given_row, found, strict=True):
            clean = value.encode("utf-8", "replace").decode()
            assert cell in {clean, f"'{clean}"}
            number = cell.lstrip("+-").replace(".", "").isalnum()
            assert number or not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
