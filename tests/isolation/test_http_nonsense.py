"""Every operation, sent nonsense: nothing breaks, and nothing of the victim changes."""

import random
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from tests.isolation.matrix_requests import BODIES
from tests.isolation.served import Estate, estate, served_operations
from tests.worlds import Cluster

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Estate]:
    async with estate(cluster, tmp_path_factory.mktemp("nonsense")) as served:
        await served.victim.pattern()
        yield served


_NONSENSE: tuple[str, ...] = (
    "\x00", "%00", "..", "../..", "é\u202e", "'; DROP TABLE x;--", "{}", "null", "-1", "9" * 40,
    "a" * 3000, "\U0001f600", "%s%n", "<script>", " ",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, -1, 2**70, 1e308, [], {}, [[[]]], "\x00", "\ud800", "a" * 30000, *_NONSENSE[2:6],
)  # fmt: skip


@pytest.mark.req("USE-2")
@pytest.mark.parametrize("seed", range(6))
async def test_no_request_breaks_the_server_or_opens_anything(served: Estate, seed: int) -> None:
    rng = random.Random(seed)
    before = served.fingerprint(served.victim)
    for operation in served_operations():
        client = served.service.operator if operation.is_operators else served.attacker.owner
        path = operation.path
        for name in operation.ids:
            path = path.replace(f"{{{name}}}", quote(rng.choice(_NONSENSE), safe=""))
        query = quote(rng.choice(_NONSENSE))
        name = rng.choice(("cursor", "limit", "before", "since", "version", "by", "after"))
        make = BODIES.get((operation.method, operation.path))
        body: Any = dict(make({}).get("json", {})) if make else {}
        for field in sorted(body.keys() - {"tenant"}):
            if rng.random() < 0.7:
                body[field] = rng.choice(_VALUES)
        if "tenant" in body:
            body["tenant"] = "acme"  # an operator may act on the victim; that is no attack
        options = {"json": rng.choice((body, body, rng.choice(_VALUES)))} if make else {}
        answer = await client.call(operation.method, f"{path}?{name}={query}", **options)
        assert answer.status < 500, (str(operation), path, name, query, options, answer)
    assert served.fingerprint(served.victim) == before
