"""The file of key-encryption keys: private, whole, and changed by one at a time."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tenantry.core.errors import InvalidRequest, StartupRefused
from tenantry.security.vault.key_file import (
    add_key,
    create_key_file,
    read_key_file,
    remove_key,
    use_key,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys" / "vault.key"
    create_key_file(path)
    return path


@pytest.mark.req("POOL-4")
def test_it_is_made_once_for_its_owner_alone(path: Path) -> None:
    made = read_key_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert {len(key) for key in made.keys.values()} == {32}
    create_key_file(path)
    assert read_key_file(path) == made
    assert [file.name for file in path.parent.iterdir()] == ["vault.key"]


@pytest.mark.req("POOL-4")
def test_of_many_first_starts_one_makes_it(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(create_key_file, [path] * 8))
    assert len(read_key_file(path).keys) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["vault.key"]


@pytest.mark.req("POOL-4")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o601, 0o777])
def test_it_is_refused_when_others_may_touch_it(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(StartupRefused, match="chmod 600"):
        read_key_file(path)


@pytest.mark.req("POOL-4")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"current": "a", "keys": {}}',
        '{"current": "a", "keys": {"b": "%s"}}' % ("00" * 32),
        '{"current": "a", "keys": {"a": "%s"}}' % ("00" * 31),
        '{"current": "a", "keys": {"a": "not hexadecimal: hunter2"}}',
        '{"current": "a", "keys": {"a": 1}}',
        '{"current": ["a"], "keys": {"a": "00"}}',
        '{"current": "a", "keys": ["hunter2"]}',
        '{"current": "hunter2',
    ],
)
def test_what_is_no_key_file_is_refused_without_repeating_it(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(StartupRefused) as refused:
        read_key_file(path)
    assert "hunter2" not in repr(refused.getrepr(chain=True).reprcrash)
    assert refused.value.__cause__ is None


@pytest.mark.req("POOL-4")
def test_bytes_that_are_no_text_and_no_file_at_all_are_refused(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StartupRefused):
        read_key_file(path)
    path.unlink()
    with pytest.raises(StartupRefused, match="cannot be read"):
        read_key_file(path)
    with pytest.raises(StartupRefused, match="cannot be read"):
        add_key(path)


@pytest.mark.req("POOL-4")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupRefused, match="cannot be written"):
        create_key_file(tmp_path / "file" / "vault.key")


@pytest.mark.req("POOL-4")
def test_a_key_is_added_used_and_the_old_one_removed(path: Path) -> None:
    first = read_key_file(path)
    name = add_key(path)
    assert read_key_file(path).current == first.current  # so that copies can be made first
    use_key(path, name)
    both = read_key_file(path)
    assert both.current == name
    assert both.keys[first.current] == first.keys[first.current]
    remove_key(path, first.current)
    assert read_key_file(path).keys == {name: both.keys[name]}
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.req("POOL-4")
def test_the_key_that_wraps_is_not_removed_and_an_unknown_one_not_used(path: Path) -> None:
    current = read_key_file(path).current
    refusals: list[tuple[Callable[[Path, str], None], str]] = [
        (remove_key, current),
        (remove_key, "nothing"),
        (use_key, "nothing"),
    ]
    for change, name in refusals:
        with pytest.raises(InvalidRequest):
            change(path, name)
    assert read_key_file(path).current == current


@pytest.mark.req("POOL-4")
def test_of_many_who_add_keys_at_once_none_is_lost(path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        names = list(threads.map(add_key, [path] * 16))
    assert set(names) < set(read_key_file(path).keys)
    assert len(json.loads(path.read_text())["keys"]) == 17


@pytest.mark.req("POOL-4")
def test_keys_are_not_printed(path: Path) -> None:
    file = read_key_file(path)
    assert all(
        key.hex() not in repr(file) and repr(key) not in repr(file) for key in file.keys.values()
    )
