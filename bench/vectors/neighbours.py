"""What ten thousand other tenants cost a small one."""

from bench.vectors.asking import ask, through
from bench.vectors.shop import Shop
from tenantry.vectors.search import TenantVectors

SMALL, OF_A_NEIGHBOUR = 1000, 100
GOAL = 1.15


async def neighbours(alone: Shop, among: Shop, tenants: int, questions: int) -> list[str]:
    """The same tenant in two databases, one of them full of others; the goals missed."""
    held = alone.vectors(SMALL)
    among.neighbours(tenants // 2, OF_A_NEIGHBOUR)
    contexts = {"alone": alone.tenant(held), "among": among.tenant(held)}
    among.neighbours(tenants - tenants // 2, OF_A_NEIGHBOUR)
    for shop in (alone, among):
        shop.analyze()
    ways = {
        name: through(TenantVectors(shop.world.db), {0: contexts[name]})
        for name, shop in (("alone", alone), ("among", among))
    }
    scores = await ask(ways, {0: held}, alone.vectors(questions))
    ratio = scores["among"].ms / scores["alone"].ms
    print(f"\na tenant of {SMALL:,} passages")
    print(f"  alone                                     {scores['alone']}")
    others = f"among {tenants:,} others, {tenants * OF_A_NEIGHBOUR:,} passages"
    print(f"  {others:<41} {scores['among']}")
    print(f"  ratio {ratio:.2f} (goal {GOAL})", flush=True)
    missed = []
    if ratio > GOAL:
        missed.append(f"neighbours cost {ratio:.2f} of the latency alone; the goal is {GOAL}")
    if scores["among"].recall < 1:
        missed.append("an exact search left something out")
    return missed
