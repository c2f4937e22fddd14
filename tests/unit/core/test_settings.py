"""Settings: read once from the environment, strict about what they do not know."""

from pathlib import Path

import pytest

from tenantry.core.errors import StartupRefused
from tenantry.core.settings import Settings, default_data_dir


def test_defaults_serve_this_machine_only_with_the_embedded_database() -> None:
    settings = Settings.from_environment({})
    assert settings.host == "127.0.0.1"
    assert settings.database_url == ""
    assert settings.data_dir == default_data_dir()
    assert settings.secrets_path == settings.data_dir / "secrets.json"
    assert settings.files_dir == settings.data_dir / "files"


def test_each_kind_of_value_is_converted() -> None:
    settings = Settings.from_environment(
        {
            "TENANTRY_DATA_DIR": "/srv/tenantry",
            "TENANTRY_PORT": "9000",
            "TENANTRY_REQUEST_TIMEOUT_S": "2.5",
            "TENANTRY_HOST": "0.0.0.0",
            "TENANTRY_API_KEY": "belongs to the client",
            "UNRELATED": "ignored",
        }
    )
    assert settings.data_dir == Path("/srv/tenantry")
    assert (settings.port, settings.request_timeout_s, settings.host) == (9000, 2.5, "0.0.0.0")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("TENANTRY_PROT", "1", "Unknown setting TENANTRY_PROT"),
        ("TENANTRY_PORT", "eighty", "TENANTRY_PORT is not a number"),
        ("TENANTRY_REQUEST_TIMEOUT_S", "soon", "TENANTRY_REQUEST_TIMEOUT_S is not a number"),
    ],
)
def test_a_mistake_is_refused_with_the_variable_named(variable: str, value: str, said: str) -> None:
    with pytest.raises(StartupRefused, match=said):
        Settings.from_environment({variable: value})


def test_a_database_password_is_not_in_the_representation() -> None:
    settings = Settings(database_url="postgresql://u:hunter2@h/d")
    assert "hunter2" not in repr(settings)
