"""What an index of its own gives a tenant, and from which size."""

from bench.vectors.asking import ask, through
from bench.vectors.shop import Shop
from tenantry.vectors.search import PROMOTE_AT, TenantVectors

SIZES = (1000, 2000, 5000, 10_000, 20_000)
FASTER, RECALL = 10, 0.98


async def large(shop: Shop, largest: int, questions: int) -> list[str]:
    """Tenants of growing size, exact and by their shelf in turns; the goals missed."""
    db = shop.world.db
    exact, by_shelf = TenantVectors(db, exact_below=10**9), TenantVectors(db, exact_below=0)
    crossover, faster, recall = 0, 0.0, 0.0
    print("\ntenants of growing size, exact and on a shelf")
    for size in sorted({*SIZES, largest}):
        held = shop.vectors(size)
        contexts = {0: shop.tenant(held)}
        shop.analyze()
        took = await shop.promote(contexts[0])
        ways = {"exact": through(exact, contexts), "shelf": through(by_shelf, contexts)}
        scores = await ask(ways, {0: held}, shop.vectors(questions))
        faster, recall = scores["exact"].ms / scores["shelf"].ms, scores["shelf"].recall
        print(f"{size:>8,}  exact  {scores['exact']}")
        print(f"          shelf  {scores['shelf']}  {faster:.1f} times faster", end="")
        print(f"  made in {took:.1f} s", flush=True)
        if faster > 1 and not crossover:
            crossover = size
    print(f"the shelf is faster from {crossover:,} passages or fewer; PROMOTE_AT {PROMOTE_AT:,}")
    missed = []
    if faster < FASTER:
        missed.append(
            f"at {largest:,} the shelf is {faster:.1f} times faster; the goal is {FASTER}"
        )
    if recall < RECALL:
        missed.append(f"at {largest:,} the shelf's recall is {recall:.3f}; the goal is {RECALL}")
    return missed
