"""Files are found by tenant and content only, and are what they were when they were stored."""

import os
import stat
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from tenantry.connectors.stored_files import Defect, StoredFiles, Unfit, digest_of
from tenantry.core.clock import ManualClock, SystemClock
from tenantry.core.errors import StoreUnavailable
from tenantry.core.ids import TenantId, new_id

pytestmark = pytest.mark.req("CON-3")
ACME, GLOBEX = TenantId(new_id()), TenantId(new_id())


@pytest.fixture
def files(tmp_path: Path) -> StoredFiles:
    """A store with a file of each tenant."""
    files = StoredFiles(tmp_path / "files", SystemClock())
    _store(files, ACME, b"acme's own")
    _store(files, GLOBEX, b"globex's own")
    return files


def _store(files: StoredFiles, tenant: TenantId, content: bytes) -> bytes:
    with files.incoming(tenant, content) as made:
        digest = digest_of(made.descriptor)
        files.keep(tenant, made, digest)
    return digest


def _open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _digest(content: bytes) -> bytes:
    return sha256(content).digest()


def _path(tmp_path: Path, tenant: TenantId, content: bytes) -> Path:
    return tmp_path / "files" / str(tenant) / f"{_digest(content).hex()}.parquet"


def _read(files: StoredFiles, tenant: TenantId, content: bytes) -> bytes:
    with files.opened(tenant, [_digest(content)]) as descriptors:
        return os.pread(descriptors[0], 1000, 0)


def _assert_unfit(files: StoredFiles, tenant: TenantId, content: bytes, defect: Defect) -> None:
    before = _open_descriptors()
    with pytest.raises(Unfit) as unfit:
        _read(files, tenant, content)
    assert (unfit.value.defect, unfit.value.place) == (defect, 0)
    assert _open_descriptors() == before


def test_a_file_is_read_by_its_tenant_and_content(files: StoredFiles, tmp_path: Path) -> None:
    assert _read(files, ACME, b"acme's own") == b"acme's own"
    path = _path(tmp_path, ACME, b"acme's own")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_the_neighbours_file_does_not_exist_here(files: StoredFiles) -> None:
    _assert_unfit(files, ACME, b"globex's own", "missing")
    assert _read(files, GLOBEX, b"globex's own") == b"globex's own"


def test_a_tenant_without_files_has_none(files: StoredFiles) -> None:
    _assert_unfit(files, TenantId(new_id()), b"acme's own", "missing")


def test_a_descriptor_is_read_only_and_not_inherited(files: StoredFiles) -> None:
    with files.opened(ACME, [_digest(b"acme's own")]) as (descriptor,):
        assert not os.get_inheritable(descriptor)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(descriptor, b"x")


@pytest.mark.parametrize("how", ["symlink", "folder", "pipe", "readable", "dangling"])
def test_what_is_no_plain_file_of_ours_is_not_opened(
    files: StoredFiles, tmp_path: Path, how: str
) -> None:
    path = _path(tmp_path, ACME, b"acme's own")
    if how == "readable":
        path.chmod(0o640)
    else:
        path.unlink()
    if how == "symlink":
        path.symlink_to(_path(tmp_path, GLOBEX, b"globex's own"))
    if how == "dangling":
        path.symlink_to("/nowhere")
    if how == "folder":
        path.mkdir(mode=0o700)
    if how == "pipe":
        os.mkfifo(path, 0o600)
    _assert_unfit(files, ACME, b"acme's own", "not a plain file of ours")


@pytest.mark.parametrize("how", ["changed", "hard link", "copied", "truncated"])
def test_what_has_another_content_is_not_opened(
    files: StoredFiles, tmp_path: Path, how: str
) -> None:
    assert _read(files, ACME, b"acme's own")  # seen once: it must be looked at again
    path, theirs = (
        _path(tmp_path, ACME, b"acme's own"),
        _path(tmp_path, GLOBEX, b"globex's own"),
    )
    if how == "changed":
        path.write_bytes(b"acme's owN")
    if how == "copied":
        path.write_bytes(theirs.read_bytes())
    if how == "hard link":
        path.unlink()
        os.link(theirs, path)
    if how == "truncated":
        os.truncate(path, 3)
    _assert_unfit(files, ACME, b"acme's own", "content changed")


def test_a_link_in_place_of_the_tenants_folder_is_not_followed(
    files: StoredFiles, tmp_path: Path
) -> None:
    folder = tmp_path / "files" / str(ACME)
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "files" / str(GLOBEX))
    _assert_unfit(files, ACME, b"globex's own", "not a plain file of ours")
    with pytest.raises(StoreUnavailable), files.incoming(ACME):
        pytest.fail("stored through a link")


def test_one_unfit_file_of_several_closes_all(files: StoredFiles) -> None:
    before = _open_descriptors()
    wanted = [_digest(b"acme's own"), _digest(b"nothing")]
    with pytest.raises(Unfit) as unfit, files.opened(ACME, wanted):
        pytest.fail("opened")
    assert unfit.value.place == 1
    assert _open_descriptors() == before


def test_a_new_file_is_gone_unless_it_was_kept(files: StoredFiles, tmp_path: Path) -> None:
    with files.incoming(ACME, b"new") as made:
        assert (tmp_path / "files" / str(ACME) / made.name).read_bytes() == b"new"
    own = _path(tmp_path, ACME, b"acme's own")
    assert list(own.parent.iterdir()) == [own]


def test_removing_takes_one_tenants_file_only(files: StoredFiles, tmp_path: Path) -> None:
    _store(files, ACME, b"shared")
    _store(files, GLOBEX, b"shared")
    files.remove(ACME, _digest(b"shared"))
    files.remove(ACME, _digest(b"shared"))
    files.remove(TenantId(new_id()), _digest(b"shared"))
    assert not _path(tmp_path, ACME, b"shared").exists()
    assert _path(tmp_path, GLOBEX, b"shared").exists()


def test_only_what_is_old_and_unfinished_is_cleared_up(tmp_path: Path) -> None:
    clock = ManualClock(datetime.now(UTC))
    files = StoredFiles(tmp_path / "files", clock)
    _store(files, ACME, b"kept")
    folder = tmp_path / "files" / str(ACME)
    (folder / ".incoming-x").write_bytes(b"")
    _store(files, ACME, b"second")
    assert (folder / ".incoming-x").exists()
    clock.advance(timedelta(days=2).total_seconds())
    _store(files, ACME, b"third")
    assert not (folder / ".incoming-x").exists()
    assert len(list(folder.iterdir())) == 3


def test_a_disk_that_cannot_be_written_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "files").write_bytes(b"a file in the folder's place")
    files = StoredFiles(tmp_path / "files", SystemClock())
    with pytest.raises(StoreUnavailable, match="cannot be stored"), files.incoming(ACME):
        pytest.fail("stored")
