"""The limit of an account follows what the account says, within its bounds."""

import pytest

from tenantry.core.ids import TenantId, new_id
from tenantry.fairness.concurrency import AdaptiveLimit, Bounds

BOUNDS = Bounds(4, 100, 50)
ACME, GLOBEX = TenantId(new_id()), TenantId(new_id())


@pytest.mark.req("FAIR-1")
def test_a_complaint_cuts_it_by_a_fifth_and_a_hundred_at_once_do_no_more() -> None:
    limit = AdaptiveLimit(BOUNDS)
    assert [limit.overloaded(10.0) for _ in range(100)].count(True) == 1
    assert limit.value == 40


@pytest.mark.req("FAIR-1")
def test_it_never_leaves_its_bounds() -> None:
    limit = AdaptiveLimit(BOUNDS)
    for second in range(50):
        limit.overloaded(float(second * 2))
    assert limit.value == 4
    for second in range(200, 500):
        limit.answered(float(second), is_full=True)
    assert limit.value == 100


@pytest.mark.req("FAIR-1")
def test_it_rises_by_one_a_second_only_while_all_slots_are_used() -> None:
    limit = AdaptiveLimit(BOUNDS)
    for tenth in range(50):
        limit.answered(tenth / 10, is_full=False)
    assert limit.value == 50
    for tenth in range(50):
        limit.answered(10 + tenth / 10, is_full=True)
    assert limit.value == 55


@pytest.mark.req("FAIR-2")
def test_failures_of_one_tenant_among_many_do_not_lower_it_and_those_of_two_do() -> None:
    limit = AdaptiveLimit(BOUNDS)
    for second in range(100):
        assert not limit.troubled(ACME, float(second), is_shared=True)
    assert limit.value == 50
    assert limit.troubled(GLOBEX, 100.0, is_shared=True)
    assert limit.value == 40


@pytest.mark.req("FAIR-1")
def test_failures_of_the_only_tenant_lower_it() -> None:
    limit = AdaptiveLimit(BOUNDS)
    assert limit.troubled(ACME, 0.0, is_shared=False)


@pytest.mark.req("FAIR-2")
def test_failures_long_apart_are_no_hint() -> None:
    limit = AdaptiveLimit(BOUNDS)
    limit.troubled(ACME, 0.0, is_shared=True)
    assert not limit.troubled(GLOBEX, 11.0, is_shared=True)
