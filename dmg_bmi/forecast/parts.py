"""Parts of a hindcast that are done, kept in files, so that one that was killed goes on from there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import StateError
from ..io.atomic import make_folder
from ..runtime import state_codec

KIND = "part of a hindcast"


class Parts:
    """Files of the parts that are done.

    Parameters
    ----------
    folder : Path
        Of one hindcast alone.
    about : mapping
        Plain data: what the hindcast is of. What was kept of another one is made again.
    tensors : iterable of Tensor
        Likewise: weights and data.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], tensors: Iterable[Tensor]) -> None:
        self._folder = folder
        digest = sha256(json.dumps(about, sort_keys=True, default=str).encode())
        for tensor in tensors:
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        self._key = digest.hexdigest()

    def read(self, number: int) -> dict[str, Tensor] | None:
        """Return what was kept of a part, if it was."""
        path = self._path(number)
        if not path.is_file():
            return None
        try:
            header, tensors = state_codec.decode(state_codec.read(path), str(path))
        except StateError:  # of a machine that went down, perhaps: it is made again
            return None
        order = header.pop("order", [])
        if header != self._header(number) or sorted(order) != sorted(tensors):
            return None
        return {name: tensors[name] for name in order}

    def require(self, number: int) -> dict[str, Tensor]:
        """Return a part that is there.

        Raises
        ------
        StateError
            If it is not.
        """
        part = self.read(number)
        if part is None:
            raise StateError(f"{self._path(number)}: is not there or not of this run; start it again")
        return part

    def keep(self, number: int, tensors: Mapping[str, Tensor]) -> None:
        """Keep a part."""
        make_folder(self._folder)
        # Files sort tensors; what is learned of them depends on their order.
        header = self._header(number) | {"order": [*tensors]}
        state_codec.write(self._path(number), state_codec.encode(header, tensors))

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.part"

    def _header(self, number: int) -> dict[str, Any]:
        return {"kind": KIND, "key": self._key, "number": number}


def forget(folder: Path) -> None:
    """Remove the parts in a folder and in its folders, once their results are in place."""
    with suppress(OSError):  # they would be made again; the results are there
        for path in folder.rglob("*.part"):
            if path.stem.isdigit():  # as they are named here
                path.unlink(missing_ok=True)
        for path in (*folder.glob("*"), folder):
            path.rmdir()
