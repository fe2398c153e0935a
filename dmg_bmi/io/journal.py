"""Several files and folders take their places at once, or none does.

Before the first of them moves, a journal of all moves stands in the workspace (see :mod:`.atomic`). Where the
process is killed on the way, whoever holds the workspace next finds the journal and undoes the moves.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path, PurePath

JOURNAL = "journal.json"
_Moves = list[tuple[Path, Path]]


def exchange(made: Sequence[tuple[Path, Path]], gone: Collection[Path], workspace: Path) -> None:
    """Put what was written in its places, all of it or, where something fails, nothing.

    Parameters
    ----------
    made : sequence of two paths
        Of files and folders in workspaces, and their places. The later ones are what makes the earlier ones
        valid: the older of the last leaves first and the new one comes last, so that nobody starts on a part.
    gone : collection of Path
        What goes without a successor.
    workspace : Path
        Where that waits, and the journal stands. All places lie below the folder that holds it.

    Raises
    ------
    FileExistsError
        If something of another kind stands in a place.
    OSError
    """
    workspace = _absolute(workspace)
    made = [(_absolute(new), _absolute(place)) for new, place in made]
    gone = [_absolute(place) for place in gone]
    for new, place in made:
        if place.exists() and not (place.is_file() if new.is_file() else place.is_dir()):
            raise FileExistsError(errno.EEXIST, "it exists and is of another kind", str(place))
    leaving = [(place, new.with_name(f".{new.name}.old")) for new, place in reversed(made)]
    leaving += [(place, workspace / f".{place.name}.gone") for place in gone]
    moves = [(here, there) for here, there in leaving if os.path.lexists(here)] + [*made]
    for new, _ in made:
        for file in (new,) if new.is_file() else new.iterdir():
            sync(file, os.O_RDWR)
    try:
        _write(workspace, moves)
        for here, there in moves:
            os.rename(here, there)
        for folder in {place.parent for _, place in made}:
            sync(folder, os.O_RDONLY)
        (workspace / JOURNAL).unlink()
    except BaseException:
        if is_open(workspace):  # else it is whole
            with suppress(
                OSError
            ):  # the journal stays then, and the next holder of the workspace tries again
                _undo(workspace, moves)
        raise


def is_open(workspace: Path) -> bool:
    """Tell whether an exchange did not come to its end."""
    return os.path.lexists(workspace / JOURNAL)


def undo(workspace: Path) -> None:
    """Bring back what an exchange that was killed had moved.

    Raises
    ------
    OSError
        If the journal is not one that this package writes, or a file cannot be moved.
    """
    root, path = workspace.parent, workspace / JOURNAL
    try:
        moves = [(_below(root, here), _below(root, there)) for here, there in json.loads(path.read_bytes())]
    except (ValueError, TypeError, RecursionError) as problem:
        raise OSError(
            errno.EINVAL, f"{workspace.name}/{JOURNAL} beside it is corrupt; move that folder away", str(path)
        ) from problem
    _undo(workspace, moves)


def _undo(workspace: Path, moves: _Moves) -> None:
    """Move back whatever has moved; what is already back stays."""
    for here, there in reversed(moves):
        if os.path.lexists(there) and not os.path.lexists(here):
            os.rename(there, here)
    (workspace / JOURNAL).unlink()


def _write(workspace: Path, moves: _Moves) -> None:
    root, path = workspace.parent, workspace / JOURNAL
    content = json.dumps([[str(end.relative_to(root)) for end in move] for move in moves])
    draft = workspace / f".{JOURNAL}"
    draft.write_text(content, encoding="utf-8")
    sync(draft, os.O_RDWR)
    os.rename(draft, path)
    sync(workspace, os.O_RDONLY)


def _below(root: Path, name: str) -> Path:
    """Return a path below a folder; a journal that somebody made reaches nothing else."""
    path = PurePath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(name)
    return root / path


def _absolute(path: Path) -> Path:
    """Name a path from the root on, without following links."""
    return Path(os.path.abspath(path))


def sync(path: Path, flags: int) -> None:
    """Wait until the disk holds a file or a folder."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
