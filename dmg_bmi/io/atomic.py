"""Writing files and folders whole or not at all, one writer at a time.

What is written stands in a workspace beside its target until it takes the target's place. The workspace of
``out.nc`` is the folder ``.out.nc.dmg_bmi``, and whoever holds the lock in it may write ``out.nc``. A lock
ends with its process, so what a killed writer left is known to be dead, and the next one removes it,
or undoes it where a journal says so (see :mod:`.journal`).
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path
from secrets import token_hex
from time import monotonic, sleep

from ..errors import WriteError
from .journal import exchange, is_open, sync, undo

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:  # Windows
    flock = None  # type: ignore[assignment]

SUFFIX = ".dmg_bmi"
LOCK = "lock"
#: What stands in the lock of every workspace; a folder without it is somebody else's.
MARK = b"workspace of dmg_bmi, removed when its file is written\n"
#: Seconds to wait for a writer that is about to finish.
PATIENCE = 30.0
#: Where a replaced folder waits until the new one is in its place.
_OLD = "old"
_BUSY = (errno.EAGAIN, errno.EACCES)


@contextmanager
def locked(path: Path, patience: float = PATIENCE) -> Iterator[Path]:
    """Hold the right to write `path`, with a workspace beside it that is removed afterwards.

    Parameters
    ----------
    path : Path
        A file or folder; its parent exists.
    patience : float
        Seconds to wait for another writer.

    Yields
    ------
    Path
        An empty folder on the file system of `path`.

    Raises
    ------
    WriteError
        If another process or thread is writing `path`, or something fails on the way.
    """
    path = Path(path)
    workspace, lock = _beside(path), None
    with _told(path, workspace.name.removesuffix(SUFFIX) + "."):
        try:
            lock = _acquire(workspace, path, patience)
        except _Unsupported:
            # Nobody can tell then whether a writer lives, so each has a workspace of its own.
            workspace = _beside(path, f".{token_hex(8)}")
            workspace.mkdir(mode=0o700)
        try:
            yield workspace
        finally:
            _release(workspace, lock)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the right to write `path` for long work, whose own errors stay as they are; nobody is waited for.

    Raises
    ------
    WriteError
        If another process or thread has it.
    """
    path = Path(path)
    workspace, lock = _beside(path), None
    # Without locks nobody can tell whether another one lives.
    with _told(path), suppress(_Unsupported):
        lock = _acquire(workspace, path, 0.0)
    try:
        yield
    finally:
        if lock is not None:
            _release(workspace, lock)


@contextmanager
def replacing(path: Path, patience: float = PATIENCE) -> Iterator[Path]:
    """Yield a temporary path; what is written there takes the place of `path`, or nothing does.

    Raises
    ------
    WriteError
        See :func:`locked`; also where `path` is a folder, a device or a pipe.
    """
    path = Path(path)
    with locked(path, patience) as workspace:
        _require_regular(path)
        temporary = workspace / path.name
        yield temporary
        put(temporary, path)


@contextmanager
def replacing_together(places: Sequence[Path]) -> Iterator[list[Path]]:
    """Yield temporary paths; what is written there takes the places at once, or nothing does.

    This is for long work: nobody is waited for, and a place that cannot be taken is told before it.

    Parameters
    ----------
    places : sequence of Path
        Files of one folder, which is made; the last makes the others valid.

    Raises
    ------
    WriteError
        See :func:`locked`; also where a place is a folder, a device or a pipe.
    """
    make_folder(places[-1].parent)
    with locked(places[-1], patience=0.0) as workspace:
        for place in places:
            _require_regular(place)
        made = [(workspace / place.name, place) for place in places]
        yield [temporary for temporary, _ in made]
        exchange(made, (), workspace)


def _require_regular(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "it exists and is not a regular file", str(path))


@contextmanager
def replacing_folder(path: Path, holds: Collection[str], also: str = "") -> Iterator[Path]:
    """Yield an empty folder that takes the place of `path` when the block ends without an error.

    Parameters
    ----------
    path : Path
    holds : collection of str
        Names of the files that such a folder holds. One with anything else is not ours to remove.
    also : str, optional
        A pattern of further names.

    Raises
    ------
    WriteError
        See :func:`locked`; also if `path` holds something else.
    """
    path = Path(path)
    with locked(path) as workspace:
        if Path(os.path.abspath(path)) == Path.cwd():
            raise OSError(errno.EBUSY, "it is the working folder and cannot be exchanged", str(path))
        refuse_foreign(path, holds, also)
        new, old = workspace / "new", workspace / _OLD
        new.mkdir()
        yield new
        for file in new.iterdir():
            sync(file, os.O_RDWR)
        refuse_foreign(path, holds, also)
        if path.exists():
            path.rename(old)
        try:
            new.rename(path)
        except BaseException:
            _restore(path, old)
            raise
        sync(path.parent, os.O_RDONLY)


def refuse_foreign(path: Path, holds: Collection[str], also: str) -> None:
    """Refuse a folder that holds anything else, or is not a folder (see :func:`replacing_folder`)."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise FileExistsError(errno.EEXIST, "it exists and is not a folder", str(path))
    names = sorted(file.name for file in path.iterdir()) if path.exists() else []
    odd = [name for name in names if name not in holds and not fnmatch(name, also)]
    if odd:
        raise FileExistsError(
            errno.EEXIST, f"it holds other files ({odd[0]}); choose a new or an empty folder", str(path)
        )


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are not there yet; WriteError if that fails."""
    with _told(path):
        Path(path).mkdir(parents=True, exist_ok=True)


def put(temporary: Path, path: Path) -> None:
    """Move a written file to its place, so that a crash of the machine leaves it whole too."""
    sync(temporary, os.O_RDWR)
    os.replace(temporary, path)
    sync(path.parent, os.O_RDONLY)


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with replacing(path) as temporary:
        create(temporary, content)


def create(path: Path, content: bytes) -> None:
    """Write a file that does not exist yet, readable by whom the user's umask lets read it."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    with os.fdopen(handle, "wb") as file:
        file.write(content)


def recover(path: Path) -> None:
    """Undo an exchange into `path` that was killed, if there was one, so that what stood there can be read.

    Raises
    ------
    WriteError
        See :func:`locked`.
    """
    at_root = not Path(os.path.abspath(path)).name
    if not at_root and is_open(_beside(path)):
        with locked(path):
            pass


def sweep(folder: Path) -> None:
    """Remove the workspaces that killed writers left in a folder; those of living writers stay."""
    for workspace in folder.glob(f".*{SUFFIX}"):
        target = workspace.with_name(workspace.name[1 : -len(SUFFIX)])
        with suppress(OSError):
            workspace.rmdir()  # an empty one has no lock any more, or not yet
        with suppress(OSError, _Unsupported):
            _release(workspace, _acquire(workspace, target, 0.0, make=False))


def _beside(path: Path, more: str = "") -> Path:
    """Return the workspace of a path, beside it by whatever name it is given; WriteError for the root."""
    whole = Path(os.path.abspath(path))
    if not whole.name:
        raise WriteError(errno.EBUSY, "it is the root of the file system; choose another", str(path))
    return whole.with_name(f".{whole.name}{more}{SUFFIX}")


@contextmanager
def _told(path: Path, workspace: str = "") -> Iterator[None]:
    """Name `path` in errors of any file on its way, or in a workspace whose name begins so."""
    if not _is_name(path):
        raise WriteError(errno.EINVAL, "no file can have such a name", repr(str(path)))
    try:
        yield
    except OSError as problem:
        if isinstance(problem, WriteError) and not _within(path, workspace, problem.filename):
            raise
        reason = problem.strerror or str(problem) or type(problem).__name__
        raise WriteError(problem.errno, reason, str(path)) from problem


def _is_name(path: Path) -> bool:
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:  # half a character
        return False


def _within(path: Path, workspace: str, file: str) -> bool:
    """Tell whether a file lies in a workspace of `path`, which users do not know."""
    beside = _beside(path).parent
    parents = [p for p in Path(os.path.abspath(file)).parents if p.parent == beside]
    return bool(workspace) and any(p.name.startswith(workspace) and p.name.endswith(SUFFIX) for p in parents)


class _Unsupported(Exception):
    """The file system has no locks."""


def _acquire(workspace: Path, target: Path, patience: float, make: bool = True) -> int:
    """Make the workspace and lock it; what a dead writer left there is removed."""
    if flock is None:
        raise _Unsupported
    deadline = monotonic() + patience
    while True:
        if make:
            with suppress(FileExistsError):  # `exist_ok` raises where another one removes it meanwhile
                workspace.mkdir(mode=0o700)
        descriptor = _open(workspace, make)
        if descriptor is not None:
            try:
                if _try(descriptor) and _is_current(descriptor, workspace):
                    _claim(descriptor, workspace, target)
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        if monotonic() >= deadline:
            raise BlockingIOError(errno.EAGAIN, "another process is writing it", str(target))
        sleep(0.01)


def _open(workspace: Path, make: bool) -> int | None:
    flags = os.O_RDWR | (os.O_CREAT if make else 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        if workspace.is_symlink() or LOCK not in (os.listdir(workspace) or [LOCK]):
            raise _foreign(workspace)
        return os.open(workspace / LOCK, flags, 0o600)
    except FileNotFoundError:  # its writer has just finished
        if make:
            return None
        raise
    except PermissionError:  # of another user
        raise _Unsupported from None


def _try(descriptor: int) -> bool:
    try:
        flock(descriptor, LOCK_EX | LOCK_NB)
    except OSError as problem:
        if problem.errno in _BUSY:
            return False
        raise _Unsupported from problem
    return True


def _is_current(descriptor: int, workspace: Path) -> bool:
    """Tell whether the locked file is still the one that others would lock."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(workspace / LOCK))
    except OSError:
        return False


def _claim(descriptor: int, workspace: Path, target: Path) -> None:
    found = os.read(descriptor, len(MARK) + 1)
    # A writer may have been killed before its mark was whole.
    if not MARK.startswith(found) or (found != MARK and len(os.listdir(workspace)) > 1):
        raise _foreign(workspace)
    if found != MARK:
        os.pwrite(descriptor, MARK, 0)
    if is_open(workspace):
        undo(workspace)
    _restore(target, workspace / _OLD)
    _empty(workspace)


def _restore(target: Path, old: Path) -> None:
    """Put a replaced folder back if the new one did not take its place."""
    if old.exists() and not target.exists():
        old.rename(target)


def _release(workspace: Path, lock: int | None) -> None:
    """Remove the workspace, its lock last; what cannot be removed the next writer removes."""
    try:
        if not is_open(workspace):  # else what could not be brought back waits for the next holder
            with suppress(OSError):
                _empty(workspace)
                # Without its lock what cannot be removed would be nobody's.
                if os.listdir(workspace) == [LOCK]:
                    (workspace / LOCK).unlink()
                workspace.rmdir()
    finally:
        if lock is not None:
            os.close(lock)


def _empty(workspace: Path) -> None:
    for rest in workspace.iterdir():
        if rest.name == LOCK:
            continue
        if rest.is_dir() and not rest.is_symlink():
            shutil.rmtree(rest, ignore_errors=True)
        else:
            with suppress(OSError):
                rest.unlink()


def _foreign(workspace: Path) -> FileExistsError:
    return FileExistsError(
        errno.EEXIST,
        f"{workspace.name} beside it has the name of a workspace but is not one of dmg_bmi's; move it away",
        str(workspace),
    )
