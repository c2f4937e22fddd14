"""What names somebody, somewhere or a key is known when it is seen; ordinary names are not."""

import pytest

from tenantry.connectors.reserved_names import is_reserved

pytestmark = pytest.mark.req("SEC-3")


@pytest.mark.parametrize(
    "name",
    ["tenant", "tenant_id", "tenantId", "TENANT-ID", "x-tenant-id", "X-Tenant", "org", "orgId",
     "organization", "organisation_id", "account", "account_id", "accountId", "AccountID",
     "workspace", "user_id", "userId", "userid", "as_user", "asUser", "on_behalf_of_user",
     "member_id", "customerId", "owner_id", "role_id", "impersonate", "credential", "credentials",
     "password", "passwd", "secret", "client_secret", "token", "access_token", "api_key", "apiKey",
     "apikey", "access_key", "private_key", "authorization", "jwt", "session", "cookie", "host",
     "hostname", "db_host", "server", "database", "database_name", "db", "dsn", "schema",
     "connection_string", "base_url", "callback_url", "callback", "webhook", "proxy", "endpoint"],
)  # fmt: skip
def test_a_name_that_a_model_may_not_fill(name: str) -> None:
    assert is_reserved(name)


@pytest.mark.parametrize(
    "name",
    ["id", "order_id", "status", "limit", "page", "page_token", "pageToken", "next_token",
     "continuation_token", "cursor", "query", "q", "sort", "from", "to", "currency", "accounting",
     "userName", "amount", "organic", "hosting_plan", "description", "sku", "tokenize", "filter"],
)  # fmt: skip
def test_an_ordinary_name(name: str) -> None:
    assert not is_reserved(name)


@pytest.mark.parametrize(
    "description",
    ["The tenant to read from", "Account ID", "id of the user", "The user's identifier",
     "Identifier of an organization", "Your API key", "An access token", "Password of the login",
     "Name of the database", "hostname to connect to", "Act on behalf of somebody", "Org slug"],
)  # fmt: skip
def test_a_name_that_is_described_like_one(description: str) -> None:
    assert is_reserved("x", description)


@pytest.mark.parametrize(
    "description",
    ["Only orders of this status", "How many to give", "Sum of the account balance",
     "What users searched for", "The order's number", "Token of the next page as given before"],
)  # fmt: skip
def test_an_ordinary_description(description: str) -> None:
    assert not is_reserved("x", description)
