"""What is remembered of credentials, and when it may no longer be believed."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.clock import ManualClock
from tenantry.core.ids import TenantId
from tenantry.security.standing import LONGEST_S, Standing

ACME = TenantId(UUID(int=1))
GLOBEX = TenantId(UUID(int=2))


class Hearing:
    """Whether notices are being heard."""

    def __init__(self) -> None:
        self.live = True

    def __call__(self) -> bool:
        return self.live


def _standing() -> tuple[Standing, ManualClock, Hearing]:
    clock, hearing = ManualClock(datetime(2026, 1, 1, tzinfo=UTC)), Hearing()
    return Standing(clock, hearing), clock, hearing


@pytest.mark.req("SEC-6")
def test_a_credential_is_remembered_until_its_tenant_changes() -> None:
    standing, _, _ = _standing()
    standing.remember(b"a", ACME, {"role": "owner"}, standing.moment)
    standing.remember(b"g", GLOBEX, {"role": "viewer"}, standing.moment)
    assert standing.find(b"a") == {"role": "owner"}
    standing.heard(str(ACME))
    assert standing.find(b"a") is None
    assert standing.find(b"g") == {"role": "viewer"}


@pytest.mark.req("SEC-6")
def test_what_was_read_before_a_change_is_not_remembered_after_it() -> None:
    standing, _, _ = _standing()
    moment = standing.moment
    standing.forget(ACME)  # the key is revoked while the look-up is under way
    standing.remember(b"a", ACME, {"role": "owner"}, moment)
    assert standing.find(b"a") is None


@pytest.mark.req("SEC-6")
def test_nothing_is_believed_or_remembered_while_notices_are_not_heard() -> None:
    standing, _, hearing = _standing()
    standing.remember(b"a", ACME, {}, standing.moment)
    hearing.live = False
    assert standing.find(b"a") is None
    standing.remember(b"b", ACME, {}, standing.moment)
    hearing.live = True
    assert standing.find(b"b") is None


@pytest.mark.req("SEC-6")
def test_nothing_is_believed_for_longer_than_it_may_be() -> None:
    standing, clock, _ = _standing()
    standing.remember(b"a", ACME, {}, standing.moment)
    clock.advance(LONGEST_S - 0.001)
    assert standing.find(b"a") is not None
    clock.advance(0.001)
    assert standing.find(b"a") is None


def test_a_notice_that_cannot_be_read_drops_everything() -> None:
    standing, _, _ = _standing()
    standing.remember(b"a", ACME, {}, standing.moment)
    standing.heard("not a tenant")
    assert standing.find(b"a") is None


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["look up", "change", "notice", "deaf", "wait"]),
        st.integers(0, 3),
        st.sampled_from([ACME, GLOBEX]),
    ),
    max_size=60,
)


@pytest.mark.req("SEC-6")
@given(STEPS)
def test_what_is_found_is_never_older_than_the_last_change_heard(
    steps: list[tuple[str, int, TenantId]],
) -> None:
    standing, clock, _ = _standing()
    truth = {ACME: 0, GLOBEX: 0}  # the tenant's state, as the database has it
    begun: list[tuple[TenantId, int, int, int]] = []
    for step, number, tenant in steps:
        if step == "look up":
            begun.append((tenant, number, truth[tenant], standing.moment))
        elif step == "change":
            truth[tenant] += 1
            standing.forget(tenant)
        elif step == "notice":
            standing.heard(str(tenant))
        elif step == "deaf":
            standing.forget_all()
        elif begun:  # a look-up returns, some time after it began
            clock.advance(1)
            owner, credential, state, moment = begun.pop(number % len(begun))
            standing.remember((owner, credential), owner, {"state": state}, moment)
        for owner in truth:
            for credential in range(4):
                found = standing.find((owner, credential))
                assert found is None or found["state"] == truth[owner]
