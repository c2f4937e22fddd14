"""Vector search: what neighbours cost, what an index of one's own gives, and what others give.

One run, one embedded PostgreSQL, vectors of 384 components in clusters, as embedders make them;
every search of ours goes the product's way, under row-level security. What is compared is asked
the same questions in turns, so that ratios hold on a busy machine. Recall is against NumPy's brute
force. Goals:

- a small tenant (1,000 passages) beside 10,000 others with a million: at most 1.15 times the
  latency of alone, recall 1
- a large tenant (200,000) on its shelf: recall at least 0.98, at least 10 times faster than exact
- tenants of 100, 1,000 and 10,000 passages: no other way is ahead in both recall and latency.
  Beside ours: pgvector's one index over all tenants with a filter, LanceDB and Chroma (a
  collection a tenant) where they install; these two run in the caller's process, without a
  server, transactions or isolation, and their time is taken there

Run: python -m bench vectors; python -m bench.vectors [--part neighbours|large|peers] [--tenants
1000 --large 50000]
"""

import argparse
import asyncio
import os
import tempfile
from pathlib import Path

from tests.worlds import Cluster, World

from bench.vectors.large import large
from bench.vectors.neighbours import neighbours
from bench.vectors.peers import peers
from bench.vectors.shop import Shop

PARTS = ("neighbours", "large", "peers")


def main() -> int:
    """Print the figures; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(prog="bench.vectors")
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--tenants", type=int, default=10_000, help="neighbours, of 100 passages")
    parser.add_argument("--large", type=int, default=200_000, help="passages of the large tenant")
    parser.add_argument("--asked", type=int, default=100, help="questions of each measurement")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tenantry-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with Cluster(folder) as cluster:
            missed = asyncio.run(_measure(cluster, folder, given))
    print(f"load {os.getloadavg()[0]:.2f}, {os.cpu_count()} cores")
    for goal in missed:
        print(f"missed: {goal}")
    return int(bool(missed))


async def _measure(cluster: Cluster, folder: Path, given: argparse.Namespace) -> list[str]:
    missed: list[str] = []
    parts = given.part or PARTS
    async with World.create(cluster, folder) as world:
        with world.admin() as admin:
            shop = Shop(world, admin)
            if "neighbours" in parts:
                async with World.create(cluster, folder) as other:
                    with other.admin() as its_admin:
                        alone = Shop(other, its_admin)
                        missed += await neighbours(alone, shop, given.tenants, given.asked)
            if "large" in parts:
                missed += await large(shop, given.large, given.asked)
    if "peers" in parts:
        async with World.create(cluster, folder) as world:
            with world.admin() as admin:
                missed += await peers(Shop(world, admin), folder, given.asked)
    return missed
