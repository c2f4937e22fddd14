"""A breaker opens on failures, asks with one call, and is nobody else's business."""

import pytest

from tenantry.core.ids import TenantId, new_id
from tenantry.fairness.accounts import Own
from tenantry.fairness.breaker import Breaker, BreakerState, Closed, Permit, Verdict
from tenantry.fairness.breakers import Breakers

LEASE_S = 60.0


def _permit(breaker: Breaker, now: float) -> Permit:
    given = breaker.ask(now, LEASE_S)
    assert isinstance(given, Permit), given
    return given


def _broken(now: float = 0.0, verdict: Verdict = "failed", asked_s: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(5):
        if breaker.state == "closed":
            breaker.failed(_permit(breaker, now), verdict, now, asked_s)
    return breaker


@pytest.mark.req("FAIR-2")
def test_five_failures_open_it_and_four_do_not() -> None:
    breaker = Breaker()
    for number in range(5):
        assert breaker.state == "closed"
        assert breaker.failed(_permit(breaker, 0.0), "failed", 0.0) is (number == 4)
    assert breaker.ask(0.5, LEASE_S) == Closed("open", 0.5)


@pytest.mark.req("FAIR-2")
def test_less_than_half_failing_leaves_it_closed() -> None:
    breaker = Breaker()
    for number in range(40):
        permit = _permit(breaker, 0.0)
        if number % 5 in {1, 3}:
            breaker.failed(permit, "failed", 0.0)
        else:
            breaker.answered(permit, 0.0, 0.1)
    assert (breaker.state, breaker.failure_rate) == ("closed", 0.4)


@pytest.mark.req("FAIR-2")
def test_answers_that_take_far_longer_than_usual_open_it() -> None:
    breaker = Breaker()
    for _ in range(20):
        breaker.answered(_permit(breaker, 0.0), 0.0, 2.0)
    for number in range(16):
        assert breaker.state == "closed", number
        breaker.answered(_permit(breaker, 0.0), 0.0, 9.0)
    assert (breaker.state, breaker.cause) == ("open", "open")


@pytest.mark.req("FAIR-2")
def test_a_tenant_whose_answers_always_take_long_is_not_slow() -> None:
    breaker = Breaker()
    for _ in range(100):
        breaker.answered(_permit(breaker, 0.0), 0.0, 50.0)
    assert breaker.state == "closed"


@pytest.mark.req("FAIR-2")
def test_one_probe_goes_out_and_its_answer_closes_it() -> None:
    breaker = _broken()
    probe = _permit(breaker, 1.0)
    assert probe.is_probe
    assert all(isinstance(breaker.ask(1.0, LEASE_S), Closed) for _ in range(1000))
    assert breaker.answered(probe, 2.0, 1.0)
    assert breaker.state == "closed"
    assert not _permit(breaker, 2.0).is_probe


@pytest.mark.req("FAIR-2")
def test_a_probe_that_fails_opens_it_for_twice_as_long() -> None:
    breaker, now, waits = _broken(), 0.0, []
    for _ in range(8):
        waits.append(breaker.retry_after_s(now))
        now += waits[-1]
        breaker.failed(_permit(breaker, now), "failed", now)
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


@pytest.mark.req("FAIR-2")
def test_a_probe_whose_caller_left_frees_its_place_at_once() -> None:
    breaker = _broken()
    breaker.left(_permit(breaker, 1.0))
    assert _permit(breaker, 1.0).is_probe


@pytest.mark.req("FAIR-2")
def test_a_probe_that_is_never_heard_of_again_loses_its_place() -> None:
    breaker = _broken()
    lost = _permit(breaker, 1.0)
    assert isinstance(breaker.ask(1.0 + LEASE_S - 1, LEASE_S), Closed)
    second = _permit(breaker, 1.0 + LEASE_S)
    assert not breaker.answered(lost, 99.0, 1.0)  # too late: it says nothing any more
    assert breaker.answered(second, 99.0, 1.0)


@pytest.mark.req("FAIR-2")
def test_calls_begun_before_the_opening_say_nothing_after_it() -> None:
    breaker = Breaker()
    early = [_permit(breaker, 0.0) for _ in range(10)]
    for permit in early[:5]:
        breaker.failed(permit, "failed", 0.0)
    probe = _permit(breaker, 1.0)
    for permit in early[5:]:
        assert not breaker.answered(permit, 1.0, 1.0)
    assert breaker.state == "half_open"
    assert breaker.answered(probe, 1.0, 0.1)


@pytest.mark.req("FAIR-2")
@pytest.mark.parametrize(
    ("verdict", "asked_s", "state", "wait_s"),
    [
        ("credential", 0.0, "credential", 60.0),
        ("limited", 0.0, "limited", 1.0),
        ("limited", 30.0, "limited", 30.0),
        ("limited", 1e9, "limited", 3600.0),
    ],
)
def test_a_refused_credential_and_a_limit_hold_calls_back_at_once(
    verdict: Verdict, asked_s: float, state: BreakerState, wait_s: float
) -> None:
    breaker = Breaker()
    assert breaker.failed(_permit(breaker, 0.0), verdict, 0.0, asked_s)
    assert breaker.ask(0.0, LEASE_S) == Closed(state, wait_s)


@pytest.mark.req("FAIR-2")
def test_a_replaced_credential_is_tried_at_once() -> None:
    breakers, tenant = Breakers(), TenantId(new_id())
    first, second = Own("openai", tenant, 1), Own("openai", tenant, 2)
    breaker = breakers.of(tenant, first)
    breaker.failed(_permit(breaker, 0.0), "credential", 0.0)
    assert isinstance(breakers.of(tenant, first).ask(1.0, LEASE_S), Closed)
    assert not _permit(breakers.of(tenant, second), 1.0).is_probe


@pytest.mark.req("FAIR-2")
def test_ten_minutes_without_a_call_forget_what_was_before() -> None:
    breaker = Breaker()
    for _ in range(4):
        breaker.failed(_permit(breaker, 0.0), "failed", 0.0)
    breaker.failed(_permit(breaker, 600.0), "failed", 600.0)
    assert breaker.state == "closed"


@pytest.mark.req("FAIR-2")
def test_breakers_are_bounded_and_those_that_are_open_stay_longest() -> None:
    breakers, account = Breakers(most=100), Own("openai")
    broken = TenantId(new_id())
    breakers.of(broken, account).failed(Permit(0), "credential", 0.0)
    for _ in range(110):
        breakers.of(TenantId(new_id()), account)
    assert len(breakers) == 100
    assert breakers.of(broken, account).state == "credential"


@pytest.mark.req("FAIR-2")
def test_closed_breakers_that_nobody_uses_are_dropped() -> None:
    breakers = Breakers()
    breakers.of(TenantId(new_id()), Own("openai"))
    breakers.tidy(599.0)
    assert len(breakers) == 1
    breakers.tidy(601.0)
    assert len(breakers) == 0


@pytest.mark.req("FAIR-2")
def test_a_tenant_is_shown_its_own_breakers_and_an_operator_those_that_are_open() -> None:
    breakers, account = Breakers(), Own("openai")
    acme, globex = TenantId(new_id()), TenantId(new_id())
    breakers.of(acme, account).failed(Permit(0), "limited", 0.0, 5.0)
    breakers.of(globex, account)
    (view,) = breakers.views(1.0)
    assert (view.tenant, view.state, view.retry_after_s) == (acme, "limited", 4.0)
    (own,) = breakers.views(1.0, globex)
    assert (own.tenant, own.state) == (globex, "closed")
