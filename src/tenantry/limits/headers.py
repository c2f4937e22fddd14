"""Refusals and headers: which budget, what is left, when it resets (RFC 6585, RateLimit headers).

Source: draft-ietf-httpapi-ratelimit-headers-10: `RateLimit-Policy: "name";q=quota;w=seconds` and
`RateLimit: "name";r=remaining;t=seconds`, as structured fields (RFC 9651). Quotas are in whole
tokens, whole micro-USD, or calls, which `qu` names.
"""

from tenantry.core.errors import BudgetExhausted
from tenantry.limits.complexity import Unit
from tenantry.limits.holding import Portion
from tenantry.limits.windows import RATE_US, free_in_us

_UNITS: dict[Unit, str] = {"tokens": "tokens", "cost": "micro-usd", "requests": "requests"}
_PICO_PER_MICRO = 1_000_000
_LARGEST = 999_999_999_999_999
"""Of an integer in a structured field."""


def rate_limit_headers(portion: Portion, now: float) -> dict[str, str]:
    """The two headers for one budget."""
    budget = portion.budget
    quota, left = _shown(portion, budget.ceiling or 0), _shown(portion, portion.remaining)
    name, unit = budget.policy, _UNITS[budget.unit]
    reset_s = _reset_s(portion, budget.ceiling or 0, now)
    return {
        "ratelimit-policy": f'"{name}";q={quota};w={budget.window_s};qu="{unit}"',
        "ratelimit": f'"{name}";r={min(left, quota)};t={max(0, -(-int(reset_s * 1000) // 1000))}',
    }


def refusal(portion: Portion, amount: int, now: float) -> BudgetExhausted:
    """The error for a call that a budget has no room for."""
    budget = portion.budget
    whose = {"tenant": "the tenant"}.get(budget.scope, f"this {budget.scope}")
    ceiling = budget.ceiling or 0
    fits = amount <= ceiling
    reset_s = _reset_s(portion, amount, now)
    said = f"The {budget.unit} of {whose} for this {budget.period} are used up."
    if not fits:
        said = f"The call could use more {budget.unit} than {whose} has in a {budget.period}."
    elif portion.remaining > 0:
        said = (
            f"The call could use more {budget.unit} than are left of {whose} for this "
            f"{budget.period}. Ask for fewer output tokens, or later."
        )
    return BudgetExhausted(
        said,
        retry_after_s=max(1.0, reset_s),
        facts={
            "id": str(budget.id),
            "scope": budget.scope,
            "set_by": budget.set_by,
            "unit": budget.unit,
            "window": budget.period,
            "limit": budget.whole(ceiling),
            "remaining": portion.remaining // (budget.whole_scale),
            "needed": budget.whole(amount),
            "resets_in_s": round(reset_s, 3),
            "fits": fits,
        },
        headers=rate_limit_headers(portion, now),
    )


def _reset_s(portion: Portion, amount: int, now: float) -> float:
    """Seconds until there is room again for `amount`, at the latest."""
    budget = portion.budget
    if budget.is_rate and budget.ceiling:
        period_us = RATE_US[budget.period]
        drained = int((now - portion.beyond.known_at) * budget.ceiling * 1e6 // period_us)
        room = portion.remaining + max(0, drained)
        return free_in_us(min(amount, budget.ceiling), room, budget.ceiling, period_us) / 1e6
    return max(0.0, portion.beyond.resets_at - now)


def _shown(portion: Portion, amount: int) -> int:
    if portion.budget.unit == "cost":
        return min(amount // _PICO_PER_MICRO, _LARGEST)
    return min(amount // portion.budget.whole_scale, _LARGEST)
