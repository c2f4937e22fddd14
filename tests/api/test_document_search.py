"""Searching documents over HTTP: where a passage stands, filters, bad input, the neighbour."""

import pytest

from tests.service import Service


@pytest.mark.req("VEC-2", "VEC-3", "USE-2")
async def test_a_search_gives_passages_with_their_places_and_nobody_elses(service: Service) -> None:
    ids = {}
    for client, days in ((service.acme, 21), (service.globex, 14)):
        for name in ("refunds.md", "notes.txt"):
            text = f"# Refunds\n\nRefunds take {days} days, says {name}.\n".encode()
            ids[days, name] = (await client.upload("/v1/documents", name, text)).body["id"]
    question = {"query": "How long do refunds take?"}
    found = (await service.acme.post("/v1/documents/search", question)).body["data"]
    assert {p["document_id"] for p in found} == {ids[21, "refunds.md"], ids[21, "notes.txt"]}
    assert all("21" in p["text"] and p["start"] < p["end"] for p in found)
    for narrowed, names in (
        ({"media_types": ["text/markdown"]}, ["refunds.md"]),
        ({"document_ids": [ids[21, "notes.txt"]]}, ["notes.txt"]),
        ({"document_ids": [ids[14, "notes.txt"]]}, []),  # a neighbour's id, as if it were not there
        ({"added_before": "2020-01-01T00:00:00Z"}, []),
        ({"added_from": "2020-01-01T00:00:00Z", "limit": 1}, [found[0]["title"]]),
    ):
        answer = await service.acme.post("/v1/documents/search", {**question, **narrowed})
        assert [p["title"] for p in answer.body["data"]] == names, narrowed
    for wrong in (
        {}, {"query": ""}, {"query": "x", "limit": 0}, {"query": "x", "limit": 101},
        {"query": "x", "document_ids": ["a"]},
        {"query": "x", "media_types": ["%"]}, {"query": "x", "added_from": "2020-01-01T00:00:00"},
    ):  # fmt: skip
        refused = await service.acme.post("/v1/documents/search", wrong)
        assert refused.status in {400, 422}, wrong
    named = await service.acme.post("/v1/documents/search", {"query": "x", "tenant": "globex"})
    assert (named.status, named.body["error"]["code"]) == (403, "boundary_crossed")
