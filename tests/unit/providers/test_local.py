"""The bridge between llama.cpp's thread and the event loop, with a llama that does as told."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from tenantry.core.errors import (
    ProviderMalformed,
    ProviderRejected,
    ProviderUnavailable,
    StartupRefused,
)
from tenantry.metering.usage import TokenUsage
from tenantry.providers.base import Chunk, TextDelta
from tenantry.providers.local import LocalFile, LocalModel, check_file, load_server
from tests.providers.asking import ASK, answer_of, collect

FILE = LocalFile(Path("model.gguf"))
END: dict[str, Any] = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
USAGE: dict[str, Any] = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}


def says(text: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}


class Llama:
    """Stands in for llama.cpp: says chunks from the thread it is called in."""

    def __init__(self, *chunks: dict[str, Any], error: Exception | None = None) -> None:
        self.chunks, self.error = chunks, error
        self.prompts: list[dict[str, Any]] = []
        self.threads: list[threading.Thread] = []
        self.stopped_after = -1
        self.pace_s = 0.0

    def handle_chat_completions(
        self, prompt: dict[str, Any], callback: Callable[[dict[str, Any]], bool]
    ) -> object:
        self.prompts.append(prompt)
        self.threads.append(threading.current_thread())
        for number, chunk in enumerate(self.chunks):
            time.sleep(self.pace_s)
            if callback(chunk):
                self.stopped_after = number
                return None
        if self.error is not None:
            raise self.error
        return None


def model_of(llama: Llama) -> LocalModel:
    return LocalModel(FILE, lambda _: llama)


async def test_what_the_thread_says_arrives_in_order() -> None:
    llama = Llama(says("Hel"), says("lo."), END, USAGE)
    text, end = await answer_of(model_of(llama))
    assert (text, end.reason, end.usage) == ("Hello.", "stop", TokenUsage(3, 0, 2, 0))
    assert llama.threads[0] is not threading.main_thread()


@pytest.mark.req("CTX-3", "COST-1")
async def test_the_bound_is_sent_and_no_prompt_is_kept_for_the_next_call() -> None:
    llama = Llama(says("x"), END)
    await answer_of(model_of(llama))
    (prompt,) = llama.prompts
    assert (prompt["max_tokens"], prompt["cache_prompt"], prompt["stream"]) == (100, False, True)


async def test_the_model_is_loaded_once_and_only_when_called() -> None:
    loaded: list[LocalFile] = []
    llama = Llama(says("x"), END)

    def load(file: LocalFile) -> Llama:
        loaded.append(file)
        return llama

    model = LocalModel(FILE, load)
    assert loaded == []
    await asyncio.gather(*(collect(model) for _ in range(5)))
    assert loaded == [FILE]


async def test_closing_the_iterator_stops_the_thread_and_waits_for_it() -> None:
    llama = Llama(*[says("x")] * 1000, END)
    llama.pace_s = 0.001
    async with aclosing(model_of(llama).stream(ASK)) as stream:
        first: Chunk = await anext(stream)
    assert first == TextDelta("x")
    assert 0 <= llama.stopped_after < 1000


async def test_words_of_llama_are_not_passed_on() -> None:
    secret = "prompt of a tenant"
    with pytest.raises(ProviderRejected) as raised:
        await answer_of(model_of(Llama(error=ValueError(secret))))
    assert secret not in raised.value.message


async def test_a_stream_without_an_end_is_malformed() -> None:
    with pytest.raises(ProviderMalformed):
        await answer_of(model_of(Llama(says("x"))))


async def test_a_model_that_cannot_be_loaded_is_unavailable_and_tried_again() -> None:
    llama = Llama(says("x"), END)
    tries: list[LocalFile] = []

    def load(file: LocalFile) -> Llama:
        tries.append(file)
        if len(tries) == 1:
            raise ProviderUnavailable("no memory")
        return llama

    model = LocalModel(FILE, load)
    with pytest.raises(ProviderUnavailable):
        await answer_of(model)
    assert (await answer_of(model))[0] == "x"


async def test_closing_lets_go_of_the_model_and_a_later_call_loads_it_again() -> None:
    loads: list[int] = []

    def load(_: LocalFile) -> Llama:
        loads.append(1)
        return Llama(says("x"), END)

    model = LocalModel(FILE, load)
    await collect(model)
    await model.close()
    await model.close()
    await collect(model)
    assert len(loads) == 2


def test_a_file_that_is_no_gguf_refuses_to_start(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    with pytest.raises(StartupRefused, match="cannot be read"):
        check_file(LocalFile(path))
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(StartupRefused, match="not a GGUF"):
        check_file(LocalFile(path))
    path.write_bytes(b"GGUF....")
    check_file(LocalFile(path))


def test_without_the_extra_the_message_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "xllamacpp", None)
    with pytest.raises(ProviderUnavailable, match=r"tenantry\[local\]"):
        load_server(FILE)
