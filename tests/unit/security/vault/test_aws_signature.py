"""Signature Version 4, against the example that AWS publishes."""

from datetime import UTC, datetime

import pytest

from tenantry.security.vault.aws_signature import (
    Audience,
    AwsCredentials,
    AwsRequest,
    signed_headers,
)

# "get-vanilla" of AWS's Signature Version 4 test suite.
IDENTITY = AwsCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
AUDIENCE = Audience("us-east-1", "service")
NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
VANILLA = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"


def _signature(request: AwsRequest, identity: AwsCredentials = IDENTITY) -> str:
    return signed_headers(request, identity, AUDIENCE, NOW)["authorization"]


@pytest.mark.req("POOL-4")
def test_the_published_example_has_its_published_signature() -> None:
    request = AwsRequest("GET", "/", {"host": "example.amazonaws.com"})
    assert _signature(request) == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={VANILLA}"
    )


@pytest.mark.req("POOL-4")
def test_whatever_is_sent_is_signed() -> None:
    host = {"host": "example.amazonaws.com"}
    requests = [
        AwsRequest("GET", "/", host),
        AwsRequest("POST", "/", host),
        AwsRequest("POST", "/", host, b"body"),
        AwsRequest("POST", "/x", host),
        AwsRequest("POST", "/", {**host, "x-amz-target": "TrentService.Encrypt"}),
    ]
    assert len({_signature(request) for request in requests}) == len(requests)


@pytest.mark.req("POOL-4")
def test_a_session_is_named_and_signed() -> None:
    request = AwsRequest("POST", "/", {"host": "example.amazonaws.com"})
    session = AwsCredentials(IDENTITY.key_id, IDENTITY.secret, "session")
    headers = signed_headers(request, session, AUDIENCE, NOW)
    assert headers["x-amz-security-token"] == "session"
    assert "SignedHeaders=host;x-amz-date;x-amz-security-token" in headers["authorization"]


@pytest.mark.req("POOL-4")
def test_a_secret_is_not_printed() -> None:
    assert IDENTITY.secret not in repr(IDENTITY)
