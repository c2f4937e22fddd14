"""Retrieval over a real set of questions: fused is better than each way alone."""

import sys

import pytest

from tenantry.providers.embedded_e5 import EmbeddedE5
from tests.retrieval_set import documents, questions
from tests.retrieval_set.measure import ALONE, TOGETHER, Library, mean
from tests.worlds import World


@pytest.mark.req("VEC-3")
def test_the_set_is_large_enough_and_its_answers_stand_in_its_documents() -> None:
    texts = [" ".join(content.decode().split()) for content in documents().values()]
    assert len(questions()) >= 60
    assert len({asked.text for asked in questions()}) == len(questions())
    for asked in questions():
        if not asked.title.endswith(".csv"):  # a table's row is written out when it is read
            assert any(asked.answer in text for text in texts), asked


@pytest.mark.soak
@pytest.mark.req("VEC-3")
async def test_fused_beats_words_alone_and_meaning_alone(
    world: World, embedder: EmbeddedE5, capsys: pytest.CaptureFixture[str]
) -> None:
    library = Library(world, embedder)
    await library.fill(world.acme)
    scores = await library.scores(world.acme)
    figures = {arm: mean(scores, arm) for arm in (*ALONE, TOGETHER)}
    with capsys.disabled():
        sys.stdout.write(f"\nnDCG@10 over {len(scores)} questions: {figures}\n")
    assert all(figures[TOGETHER] > figures[arm] for arm in ALONE)
    assert figures[TOGETHER] >= 0.9
