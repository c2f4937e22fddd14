"""Every keeper of key-encryption keys, under one contract, over the wire where it has one."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tenantry.core.clock import SystemClock
from tenantry.core.errors import SecretUnreadable, VaultUnavailable
from tenantry.core.ids import TenantId, new_id
from tenantry.security.vault.file_keys import FileKeys
from tenantry.security.vault.keepers import Keepers, key_encryption
from tenantry.security.vault.key_file import add_key, create_key_file, remove_key, use_key
from tenantry.security.vault.keys import KeyBinding, KeyEncryption
from tests.integration.security.vault.key_services import (
    AWS_KEY,
    GCP_KEY,
    IDENTITY,
    TOKEN,
    AwsKms,
    GcpKms,
    KeyServiceDouble,
    Transit,
    served,
)

KEY = bytes(range(32))
BINDING = KeyBinding(TenantId(new_id()), 3)
KINDS = ("file", "vault-transit", "aws-kms", "gcp-kms")
SERVICES = KINDS[1:]


@dataclass
class Case:
    """A keeper, the service behind it if there is one, and how its key is rotated."""

    keeper: KeyEncryption
    rotate: Callable[[], None]
    service: KeyServiceDouble


@asynccontextmanager
async def keeper_of(kind: str, folder: Path) -> AsyncIterator[Case]:
    if kind == "file":
        path = folder / "vault.key"
        create_key_file(path)
        yield Case(FileKeys(path), lambda: use_key(path, add_key(path)), KeyServiceDouble())
        return
    service = {"vault-transit": Transit, "aws-kms": AwsKms, "gcp-kms": GcpKms}[kind]()
    assert isinstance(service, Transit | AwsKms | GcpKms)
    async with served(service, service.handle):
        uri = {
            "vault-transit": f"vault-transit:{service.url}/v1/transit#tenantry",
            "aws-kms": f"aws-kms:{AWS_KEY}",
            "gcp-kms": f"gcp-kms:{GCP_KEY}",
        }[kind]
        environ = {
            "VAULT_TOKEN": TOKEN,
            "AWS_ACCESS_KEY_ID": IDENTITY.key_id,
            "AWS_SECRET_ACCESS_KEY": IDENTITY.secret,
            "AWS_ENDPOINT_URL_KMS": service.url,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS": service.url,
            "GCE_METADATA_HOST": service.url.removeprefix("http://"),
        }
        keeper = key_encryption(uri, folder, environ)
        try:
            yield Case(keeper, service.rotate, service)
        finally:
            await keeper.close()


@pytest.fixture
async def case(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Case]:
    async with keeper_of(request.param, tmp_path) as case:
        yield case


every_kind = pytest.mark.parametrize("case", KINDS, indirect=True)
every_service = pytest.mark.parametrize("case", SERVICES, indirect=True)


@pytest.mark.req("POOL-4")
@every_kind
async def test_a_data_key_comes_back_for_its_own_tenant_and_version_only(case: Case) -> None:
    wrapped = await case.keeper.wrap(KEY, BINDING)
    assert case.keeper.holds(wrapped.by)
    assert KEY not in wrapped.blob
    assert await case.keeper.unwrap(wrapped, BINDING) == KEY
    for other in (replace(BINDING, tenant=TenantId(new_id())), replace(BINDING, version=4)):
        with pytest.raises(SecretUnreadable):
            await case.keeper.unwrap(wrapped, other)


@pytest.mark.req("POOL-4")
@every_kind
async def test_a_wrapped_key_that_was_changed_does_not_open(case: Case) -> None:
    wrapped = await case.keeper.wrap(KEY, BINDING)
    middle = len(wrapped.blob) // 2
    other = b"B" if wrapped.blob[middle : middle + 1] == b"A" else b"A"
    changed = wrapped.blob[:middle] + other + wrapped.blob[middle + 1 :]
    with pytest.raises(SecretUnreadable):
        await case.keeper.unwrap(replace(wrapped, blob=changed), BINDING)


@pytest.mark.req("POOL-4")
@pytest.mark.parametrize("case", ["file", "vault-transit", "gcp-kms"], indirect=True)
async def test_after_a_rotation_the_new_key_wraps_and_the_old_one_still_opens(case: Case) -> None:
    old, was = await case.keeper.wrap(KEY, BINDING), await case.keeper.current()
    assert old.by == was
    case.rotate()
    new = await case.keeper.wrap(KEY, BINDING)
    assert new.by == await case.keeper.current() != was
    assert await case.keeper.unwrap(old, BINDING) == KEY == await case.keeper.unwrap(new, BINDING)
    if case.service.url and "transit" not in old.by:
        return  # what follows is said inside Google's ciphertext, not by us
    with pytest.raises(SecretUnreadable):  # a blob passed off as another key's
        await case.keeper.unwrap(replace(old, by=new.by), BINDING)


@pytest.mark.req("POOL-4")
@every_service
async def test_a_service_that_fails_is_unavailable_and_its_words_are_not_repeated(
    case: Case,
) -> None:
    wrapped = await case.keeper.wrap(KEY, BINDING)
    for status in (301, 401, 403, 404, 429, 500, 503):
        case.service.fail_with = status
        with pytest.raises(VaultUnavailable) as on_wrap:
            await case.keeper.wrap(KEY, BINDING)
        with pytest.raises(VaultUnavailable) as on_unwrap:
            await case.keeper.unwrap(wrapped, BINDING)
        told = repr((on_wrap.getrepr(), on_unwrap.getrepr(), case.keeper))
        assert TOKEN not in told
        assert IDENTITY.secret not in told


@pytest.mark.req("POOL-4")
@every_service
async def test_a_service_that_is_another_thing_is_unavailable(case: Case) -> None:
    wrapped = await case.keeper.wrap(KEY, BINDING)
    for body in (b"<html>", b"[]", b"{}", b'{"data": 1}', b"", b"{" * 2_000_000, b"\xff\xfe"):
        case.service.reply = body
        with pytest.raises(VaultUnavailable):
            await case.keeper.wrap(KEY, BINDING)
        with pytest.raises(VaultUnavailable):
            await case.keeper.unwrap(wrapped, BINDING)


@pytest.mark.req("POOL-4")
async def test_a_service_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    environ = {"VAULT_TOKEN": TOKEN}
    keeper = key_encryption("vault-transit:http://127.0.0.1:9/v1/transit#k", tmp_path, environ)
    with pytest.raises(VaultUnavailable):
        await keeper.current()
    await keeper.close()


@pytest.mark.req("POOL-4")
async def test_the_transit_key_must_be_derived_for_each_tenant(tmp_path: Path) -> None:
    async with keeper_of("vault-transit", tmp_path) as case:
        assert isinstance(case.service, Transit)
        case.service.derived = False
        with pytest.raises(VaultUnavailable, match="derived=true"):
            await case.keeper.current()


@pytest.mark.req("POOL-4")
async def test_an_engine_that_answers_500_to_a_changed_key_is_understood(tmp_path: Path) -> None:
    async with keeper_of("vault-transit", tmp_path) as case:
        assert isinstance(case.service, Transit)
        case.service.failure_status = 500
        wrapped = await case.keeper.wrap(KEY, BINDING)
        with pytest.raises(SecretUnreadable):
            await case.keeper.unwrap(wrapped, replace(BINDING, version=9))


@pytest.mark.req("POOL-4")
async def test_a_token_in_a_file_is_read_at_each_call(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("expired\n")
    service = Transit()
    async with served(service, service.handle):
        environ = {"VAULT_TOKEN_FILE": str(token), "VAULT_NAMESPACE": "team"}
        uri = f"vault-transit:{service.url}/v1/transit#tenantry"
        keeper = key_encryption(uri, tmp_path, environ)
        with pytest.raises(VaultUnavailable):
            await keeper.current()
        token.write_text(f"{TOKEN}\n")
        assert (await keeper.current()).endswith("transit#tenantry:v1")
        assert service.headers[-1]["X-Vault-Namespace"] == "team"
        token.unlink()
        with pytest.raises(VaultUnavailable):
            await keeper.current()
        await keeper.close()


@pytest.mark.req("POOL-4")
async def test_a_pods_own_identity_signs_for_it_and_is_asked_for_once(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("token of the pod\n")
    service = AwsKms()
    async with served(service, service.handle):
        environ = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{service.url}/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "token"),
            "AWS_ENDPOINT_URL_KMS": service.url,
        }
        keeper = key_encryption(f"aws-kms:{AWS_KEY}", tmp_path, environ, SystemClock())
        wrapped = await keeper.wrap(KEY, BINDING)
        assert await keeper.unwrap(wrapped, BINDING) == KEY
        assert service.calls == ["GET /credentials", "POST /", "POST /"]
        await keeper.close()


@pytest.mark.req("POOL-4")
async def test_googles_access_token_is_asked_for_once(tmp_path: Path) -> None:
    async with keeper_of("gcp-kms", tmp_path) as case:
        await case.keeper.wrap(KEY, BINDING)
        await case.keeper.current()
        assert sum("computeMetadata" in call for call in case.service.calls) == 1


@pytest.mark.req("POOL-4")
async def test_a_deployment_moves_from_one_keeper_to_another(tmp_path: Path) -> None:
    async with (
        keeper_of("file", tmp_path) as old,
        keeper_of("vault-transit", tmp_path) as new,
    ):
        before = await old.keeper.wrap(KEY, BINDING)
        both = Keepers([new.keeper, old.keeper])
        assert await both.unwrap(before, BINDING) == KEY
        after = await both.wrap(KEY, BINDING)
        assert after.by == await both.current() == await new.keeper.current()
        assert both.holds(before.by)
        assert await new.keeper.unwrap(after, BINDING) == KEY
        with pytest.raises(SecretUnreadable):
            await both.unwrap(replace(before, by="aws-kms:somebody-elses"), BINDING)


@pytest.mark.req("POOL-4")
async def test_a_key_that_was_removed_from_the_file_opens_nothing(tmp_path: Path) -> None:
    async with keeper_of("file", tmp_path) as case:
        wrapped = await case.keeper.wrap(KEY, BINDING)
        case.rotate()
        remove_key(tmp_path / "vault.key", wrapped.by.removeprefix("file:"))
        with pytest.raises(SecretUnreadable):
            await case.keeper.unwrap(wrapped, BINDING)


@pytest.mark.req("POOL-4")
async def test_a_key_file_that_went_wrong_while_running_is_unavailable(tmp_path: Path) -> None:
    async with keeper_of("file", tmp_path) as case:
        path = tmp_path / "vault.key"
        path.chmod(0o640)
        with pytest.raises(VaultUnavailable):
            await case.keeper.wrap(KEY, BINDING)
        path.chmod(0o600)
        await case.keeper.wrap(KEY, BINDING)
        path.unlink()
        with pytest.raises(VaultUnavailable):
            await case.keeper.current()
