"""The demo's client compares answers fairly and tells refusals clearly."""

from typing import Any

import pytest

from tenantry.core.errors import TenantryError
from tenantry.demo.client import Reply, accepted
from tenantry.demo.evidence import manifests
from tenantry.demo.provision import Place
from tenantry.demo.script import SKYLINE

pytestmark = pytest.mark.req("USE-5")


def problem(request_id: str, **more: Any) -> Reply:
    headers = {"x-request-id": request_id, "date": request_id, "content-type": "application/json"}
    body = {"code": "not_found", "detail": "There is no such thing here.", **more}
    return Reply(404, headers, {**body, "request_id": request_id})


def test_two_answers_that_differ_in_their_ids_only_are_the_same() -> None:
    assert problem("a").comparable == problem("b").comparable


@pytest.mark.parametrize(
    "other",
    [
        problem("b", hint="it is another tenant's"),
        Reply(403, problem("b").headers, problem("b").body),
        Reply(404, {**problem("b").headers, "etag": "x"}, problem("b").body),
    ],
    ids=["body", "status", "header"],
)
def test_any_other_difference_tells_them_apart(other: Reply) -> None:
    assert problem("a").comparable != other.comparable


def test_a_reply_knows_its_request_and_sums_itself_up() -> None:
    assert problem("a").request_id == "a"
    assert problem("a").summary == "404 not_found"
    assert Reply(204, {}, "").summary == "204"
    assert Reply(200, {}, {"data": []}).request_id == ""


def test_what_was_accepted_is_given_back() -> None:
    assert accepted(Reply(201, {}, {"id": 1}), "Creating") == {"id": 1}


@pytest.mark.parametrize("body", ["<html>", {"code": "x"}, {"detail": "No.", "code": "x"}])
def test_a_refusal_says_what_was_asked_and_answered(body: Any) -> None:
    with pytest.raises(TenantryError, match=r"^Creating a key answered 409"):
        accepted(Reply(409, {}, body), "Creating a key")


def test_a_credential_is_in_no_repr(place: Place) -> None:
    assert "secret-credential" not in repr(place)


def test_manifests_count_segments_and_find_the_foreign_one(place: Place) -> None:
    own, foreign = {"owner": place.tenant_id}, {"owner": "0192-other"}
    events: list[dict[str, Any]] = [
        {"action": "model.called", "detail": {"segments": [own, own]}},
        {"action": "model.called", "detail": {"segments": [own, foreign]}},
        {"action": "id.unknown", "detail": {}},
    ]
    proof = manifests(events, place)
    assert (proof.prompts, proof.segments, proof.foreign) == (2, 4, 1)
    assert SKYLINE is place.tenant
