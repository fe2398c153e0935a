"""Private folders: nobody else can have written the code that is loaded from them."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from ..errors import DmgBmiError

COMPILER = "TORCHINDUCTOR_CACHE_DIR"
_WINDOWS = os.name == "nt"


def cache_base() -> Path:
    """Return the user's folder of compiled code; looking for some does not make it."""
    # Not Path.home, which raises where a container's user has no home.
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base).absolute() / "dmg_bmi"


def make_private(folder: Path) -> Path:
    """Make a folder, and those above it that are not there, for their owner alone whatever the umask."""
    for part in reversed((folder, *folder.parents)):
        if not part.is_dir():
            part.mkdir(mode=0o700, exist_ok=True)
    return folder


def private_compiler_cache() -> None:
    """Let PyTorch's compiler keep its parts in a folder of the user's own.

    Its own choice is a name in the system's temporary folder that anybody can foresee and make first. It puts
    that into the environment as soon as a part of the compiler is imported.

    Raises
    ------
    DmgBmiError
        If the environment names a folder that others can write into.
    """
    named = os.environ.get(COMPILER, "")
    foreseen = named.startswith(os.path.join(tempfile.gettempdir(), "torchinductor_"))
    folder = Path(named) if named and not foreseen else cache_base() / "inductor"
    os.environ[COMPILER] = str(folder)
    refuse_shared(make_private(folder))


def refuse_shared(folder: Path) -> None:
    """Refuse a folder in which, or above which, somebody else could put something.

    Raises
    ------
    DmgBmiError
        Naming the folder.
    """
    if _WINDOWS:
        return
    real = folder.resolve()
    if reason := _unsafe(real.stat(), 0o022):
        raise DmgBmiError(f"{folder} {reason}")
    for above in real.parents:
        status = above.stat()
        # Who may write into a sticky folder cannot rename what is another's there; a user's own
        # group may be only this user.
        mask = 0 if status.st_mode & stat.S_ISVTX else 0o002 if status.st_gid == os.getgid() else 0o022
        if reason := _unsafe(status, mask, root=True):
            raise DmgBmiError(f"{above} {reason}")


def read_private(folder: Path, name: str) -> bytes:
    """Return the content of a file in a folder that passed :func:`refuse_shared`.

    What is checked and what is read is one open file.

    Raises
    ------
    DmgBmiError
        If somebody else owns the file or could have written it.
    OSError
    """
    flags = (getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
    descriptor = os.open(folder / name, sum(flags, os.O_RDONLY))
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise DmgBmiError(f"{folder / name} is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        reason = None if _WINDOWS else _unsafe(status, 0o022)
        if reason is not None:
            raise DmgBmiError(f"{folder / name} {reason}")
        return file.read()


def _unsafe(status: os.stat_result, mask: int, root: bool = False) -> str | None:
    if status.st_uid != os.getuid() and not (root and status.st_uid == 0):
        return "belongs to another user"
    if status.st_mode & mask:
        return "can be written by others"
    return None
