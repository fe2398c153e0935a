"""Compiled code is loaded from folders that nobody else can write into, whatever the umask."""

import os
import subprocess
import sys

import pytest

from dmg_bmi.errors import DmgBmiError
from dmg_bmi.io.private_folders import (
    COMPILER,
    make_private,
    private_compiler_cache,
    read_private,
    refuse_shared,
)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="modes are those of POSIX")


@pytest.fixture(params=[0o022, 0o002, 0o000, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_what_is_made_is_private_and_found_private_under_any_umask(tmp_path, umask):
    """002 is a common default: one's own package must be used under it."""
    tmp_path.chmod(0o755)
    folder = make_private(tmp_path / "cache" / "dmg_bmi")
    refuse_shared(folder)
    for made in (folder, folder.parent):
        assert made.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o757, 0o722])
def test_a_folder_that_others_can_write_into_is_refused_by_name(tmp_path, mode):
    folder = make_private(tmp_path / "cache")
    folder.chmod(mode)
    with pytest.raises(DmgBmiError, match=r"cache can be written by others"):
        refuse_shared(folder)


def test_a_parent_into_which_anybody_can_write_is_refused_but_a_sticky_one(tmp_path):
    folder = make_private(tmp_path / "open" / "cache")
    folder.parent.chmod(0o777)
    with pytest.raises(DmgBmiError, match=r"open can be written by others"):
        refuse_shared(folder)
    folder.parent.chmod(0o1777)
    refuse_shared(folder)
    folder.parent.chmod(0o775)  # one's own group
    refuse_shared(folder)


@pytest.mark.slow
@pytest.mark.parametrize("before", [None, "torch._inductor.config"])
def test_the_compiler_s_folder_is_one_s_own_even_if_torch_has_named_its_shared_one(tmp_path, before):
    """Importing a part of the compiler puts a name in the system's temporary folder into the environment."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop(COMPILER, None)
    code = f"""
import importlib, os
{f"importlib.import_module({before!r})" if before else ""}
from dmg_bmi.io.private_folders import COMPILER, private_compiler_cache
private_compiler_cache()
print(os.environ[COMPILER])
"""
    made = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert made.stdout.strip() == str(tmp_path / "cache" / "dmg_bmi" / "inductor")


def test_a_folder_that_the_user_names_for_the_compiler_is_kept_or_refused(tmp_path, monkeypatch):
    folder = make_private(tmp_path / "mine")
    monkeypatch.setenv(COMPILER, str(folder))
    private_compiler_cache()
    assert os.environ[COMPILER] == str(folder)
    folder.chmod(0o777)
    with pytest.raises(DmgBmiError, match=r"mine can be written by others"):
        private_compiler_cache()


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646])
def test_a_file_that_others_could_have_written_is_refused(tmp_path, mode):
    file = tmp_path / "index.json"
    file.write_bytes(b"{}")
    file.chmod(0o644)
    assert read_private(tmp_path, "index.json") == b"{}"
    file.chmod(mode)
    with pytest.raises(DmgBmiError, match=r"index\.json can be written by others"):
        read_private(tmp_path, "index.json")


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "theirs").write_bytes(b"code")
    (tmp_path / "ours").symlink_to(tmp_path / "theirs")
    with pytest.raises(OSError, match="ours"):
        read_private(tmp_path, "ours")
