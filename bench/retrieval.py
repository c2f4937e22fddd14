"""How well passages are found: nDCG@10 of meaning alone, of words alone, and of both fused.

The questions and documents are those of `tests/retrieval_set`. Goal: fused is better than each way
alone. No figure of it depends on the machine.

Run: python -m bench retrieval
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.retrieval_set.measure import ALONE, TOGETHER, Library, Score, mean
from tests.worlds import Cluster, World

from tenantry.core.clock import SystemClock
from tenantry.providers.embedded_e5 import EmbeddedE5

_WEAK = 0.5


async def measure(cluster: Cluster, folder: Path) -> list[Score]:
    """Every question's scores, in a fresh database with the embedder that Tenantry brings."""
    async with World.create(cluster, folder) as world:
        library = Library(world, EmbeddedE5(SystemClock()))
        await library.fill(world.acme)
        return await library.scores(world.acme)


def main() -> int:
    """Print the table; 1 when fused is not the best."""
    with tempfile.TemporaryDirectory(prefix="tenantry-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with Cluster(folder) as cluster:
            scores = asyncio.run(measure(cluster, folder))
    arms = list(scores[0].by_arm)
    print(f"{len(scores)} questions, nDCG@10")
    for arm in arms:
        found = sum(1 for score in scores if score.by_arm[arm] > 0)
        print(f"  {arm:<9}{mean(scores, arm):6.3f}   found among ten: {found}")
    print("weakest fused answers:")
    for score in sorted(scores, key=lambda s: s.by_arm[TOGETHER]):
        if score.by_arm[TOGETHER] < _WEAK:
            figures = " ".join(f"{arm} {score.by_arm[arm]:.2f}" for arm in arms)
            print(f"  {figures}  {score.asked.text}")
    holds = all(mean(scores, TOGETHER) > mean(scores, arm) for arm in ALONE)
    print(f"goal: fused above each alone: {'holds' if holds else 'MISSED'}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
