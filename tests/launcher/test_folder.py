"""The data folder is its user's alone, also where it was there before."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from launcher.folder import DataFolder, UpError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_that_was_open_to_all_is_closed_with_the_database_in_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o755)
    files = [data / name for name in ("adder.db", "adder.db-wal", "adder.db-shm")]
    for file in files:
        file.touch()
        file.chmod(0o644)
    with DataFolder(data):
        assert mode(data) == mode(data / "logs") == 0o700
        assert [mode(file) for file in files] == [0o600] * 3


def test_a_new_folder_is_closed_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with DataFolder(tmp_path / "data"):
            assert mode(tmp_path / "data") == 0o700
    finally:
        os.umask(before)


def test_a_folder_that_users_share_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    with pytest.raises(UpError, match="all users share"), DataFolder(tmp_path / "shared"):
        pass
    assert mode(tmp_path / "shared") == 0o1777


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes a folder of another user")
def test_a_folder_of_another_user_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 12345, 12345)
    with pytest.raises(UpError, match=r"uid 12345.*chown -R 0 "), DataFolder(tmp_path / "theirs"):
        pass
