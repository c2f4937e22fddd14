"""The embedding engine in a process of its own: the same vectors, its crash is not the worker's."""

import os
import resource
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tenantry.core.clock import SystemClock
from tenantry.core.errors import ProviderUnavailable
from tenantry.providers.embedded_e5 import EmbeddedE5
from tenantry.providers.engine_apart import EngineApart

pytestmark = pytest.mark.req("FAIR-3", "VEC-3")
TEXTS = ["Bags weigh 23 kg.", "Refunds take 21 days.", "Nul \0 and \ud800 are no text."]


@pytest.fixture(scope="module")
def engine() -> Iterator[EngineApart]:
    engine = EngineApart()
    yield engine
    engine.close()


async def test_vectors_and_counts_are_those_of_the_engine_itself(engine: EngineApart) -> None:
    here, apart = EmbeddedE5(SystemClock()), EmbeddedE5(SystemClock(), lambda: engine)
    found = await apart.embed_passages(TEXTS)
    assert np.array_equal(found, await here.embed_passages(TEXTS))
    assert np.array_equal(await apart.embed_query("weight"), await here.embed_query("weight"))
    assert [apart.count_tokens(t) for t in TEXTS] == [here.count_tokens(t) for t in TEXTS]


def test_a_process_that_was_killed_is_started_anew(engine: EngineApart) -> None:
    before = engine.passage(TEXTS[:1])
    killed = engine.process_id
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    assert np.array_equal(engine.passage(TEXTS[:1]), before)
    assert engine.process_id != killed


@pytest.mark.req("SEC-4")
def test_what_two_ask_at_once_never_meets_though_the_process_is_killed(
    engine: EngineApart,
) -> None:
    expected = {text: engine.passage([text]) for text in TEXTS[:2]}

    def asks(text: str) -> bool:
        return all(np.array_equal(engine.passage([text]), expected[text]) for _ in range(20))

    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(asks, text) for text in expected]
        killed = engine.process_id
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        assert [each.result(60) for each in asking] == [True, True]


def test_the_process_has_its_ceilings_and_no_environment(engine: EngineApart) -> None:
    engine.token_count("a")
    assert engine.process_id is not None
    assert resource.prlimit(engine.process_id, resource.RLIMIT_DATA)[0] == 1 << 30
    assert resource.prlimit(engine.process_id, resource.RLIMIT_CORE)[0] == 0
    soft, _ = resource.prlimit(engine.process_id, resource.RLIMIT_CPU)
    assert 60 <= soft <= 120
    assert b"PATH" not in Path(f"/proc/{engine.process_id}/environ").read_bytes()


def test_a_process_that_ends_each_time_is_a_failure_of_that_text() -> None:
    engine = EngineApart(("/bin/false",))
    with pytest.raises(ProviderUnavailable, match="ended while it read this"):
        engine.passage(TEXTS[:1])


def test_what_is_idle_ends(engine: EngineApart) -> None:
    engine.token_count("a")
    process = engine.process_id
    engine.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process or 0, 0)
