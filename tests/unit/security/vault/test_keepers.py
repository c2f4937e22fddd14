"""From the setting to the keeper: what it takes, and what it refuses to start with."""

from pathlib import Path

import pytest

from tenantry.core.errors import StartupRefused
from tenantry.security.vault.keepers import Keepers, key_encryption
from tenantry.security.vault.key_file import create_key_file, read_key_file

AWS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "hunter2"}
ARN = "aws-kms:arn:aws:kms:eu-central-1:111122223333:key/1234abcd"


@pytest.mark.req("POOL-4")
def test_without_a_setting_a_key_file_is_made_below_the_data_folder(tmp_path: Path) -> None:
    key_encryption("", tmp_path, {})
    made = read_key_file(tmp_path / "vault.key")
    key_encryption("  ", tmp_path, {})
    assert read_key_file(tmp_path / "vault.key") == made


@pytest.mark.req("POOL-4")
def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    # On one of several servers, a key made here would open nowhere else.
    with pytest.raises(StartupRefused, match="cannot be read"):
        key_encryption(f"file:{tmp_path}/vault.key", tmp_path, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.req("POOL-4")
def test_several_keepers_are_named_after_one_another(tmp_path: Path) -> None:
    create_key_file(tmp_path / "vault.key")
    keeper = key_encryption(f"{ARN} file:{tmp_path}/vault.key", tmp_path, AWS)
    assert isinstance(keeper, Keepers)
    assert keeper.holds("file:x")
    assert keeper.holds(ARN)
    assert not keeper.holds(f"{ARN}5")
    assert "hunter2" not in repr(keeper)


@pytest.mark.req("POOL-4")
@pytest.mark.parametrize(
    "uri",
    [
        "hunter2",
        "keyring:hunter2",
        "vault-transit:https://vault.example/v1/transit",
        "vault-transit:https://vault.example/v1/transit#",
        "vault-transit:https://vault.example/v1/transit#a/b",
        "vault-transit:https://vault.example/v1/transit#a?b",
        "vault-transit:https://user:hunter2@vault.example/v1/transit#a",
        "vault-transit:https://vault.example/v1/transit?token=hunter2#a",
        "vault-transit:http://vault.example/v1/transit#a",
        "vault-transit:http://127.0.0.1.example/v1/transit#a",
        "vault-transit:ftp://vault.example/v1/transit#a",
        "vault-transit:https://[hunter2/v1#a",
        "vault-transit:#a",
        "aws-kms:alias/tenantry",
        "aws-kms:arn:aws:kms:eu-central-1:111122223333:alias/tenantry",
        "aws-kms:arn:aws:s3:eu-central-1:111122223333:key/1",
        "aws-kms:arn:aws:kms:evil.example#:111122223333:key/1",
        "gcp-kms:projects/p/locations/l/keyRings/r",
        "gcp-kms:projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1",
        "gcp-kms:projects/p/locations/l/keyRings/r/cryptoKeys/k?x",
    ],
)
def test_an_address_that_could_mean_something_else_is_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(StartupRefused) as refused:
        key_encryption(uri, tmp_path, {"VAULT_TOKEN": "t", **AWS})
    assert "hunter2" not in str(refused.value)


@pytest.mark.req("POOL-4")
@pytest.mark.parametrize(
    ("uri", "named"),
    [("vault-transit:https://vault.example/v1/transit#a", "VAULT_TOKEN"), (ARN, "AWS_ACCESS_KEY")],
)
def test_a_missing_credential_is_named(uri: str, named: str, tmp_path: Path) -> None:
    with pytest.raises(StartupRefused, match=named):
        key_encryption(uri, tmp_path, {})


@pytest.mark.req("POOL-4")
def test_an_authority_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    uri = "vault-transit:https://vault.example/v1/transit#a"
    (tmp_path / "no.pem").write_text("no certificate")
    for file in ("no.pem", "missing.pem"):
        environ = {"VAULT_TOKEN": "t", "VAULT_CACERT": str(tmp_path / file)}
        with pytest.raises(StartupRefused, match="authority"):
            key_encryption(uri, tmp_path, environ)
