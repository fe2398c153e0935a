"""Functions of tensors compiled ahead of time, kept in the user's private cache.

What is compiled is a shared library, so it is loaded only from a folder of the user's own that
nobody else can write, and only if it was made by this code, with this torch, for this kind of processor.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from platform import machine
from typing import Any
from uuid import uuid4

import torch
from torch import Tensor, nn

from .. import nn_models, physics
from ..errors import DmgBmiError
from ..io.atomic import create, replacing_folder
from ..io.files import canonical, read_bytes
from ..io.files import sha256 as digest
from ..io.private_folders import make_private, private_compiler_cache, read_private, refuse_shared
from . import normalisation, roles, sequence

LIBRARY, INDEX = "step.pt2", "package.json"
#: From tensors to tensors, by position.
Flat = Callable[[list[Tensor]], list[Tensor]]


def missing_compiler(device: str) -> str | None:
    """What to install, if there is no compiler for a device."""
    if device.startswith("cuda") or any(shutil.which(c) for c in (os.environ.get("CXX", "g++"), "clang++")):
        return None
    return "compiling needs a C++ compiler (g++ or clang++); the eager engine needs none"


def key(function: nn.Module, device: str, **parts: Any) -> str:
    """SHA-256 over everything that a compiled function depends on.

    Parameters
    ----------
    function : nn.Module
        What is compiled, or would be: its code is that of all its modules.
    device : str
    **parts : plain data
        What else tells functions of the same code apart.
    """
    kinds = {type(m) for m in function.modules()}
    return digest(
        canonical(
            {
                **parts,
                "code": _code(frozenset(map(_source, kinds))),
                "session": {kind.__qualname__: _SESSION for kind in kinds if not _source(kind)},
                "torch": torch.__version__,
                "device": _capability(device),
            }
        )
    )


def build(
    function: nn.Module,
    arguments: Sequence[Tensor],
    axes: Sequence[int],
    folder: Path,
    index: Mapping[str, Any],
    device: str,
) -> Path:
    """Compile `function` for any number of rows into `folder`.

    Parameters
    ----------
    function : nn.Module
        Of tensors, to a tuple of tensors.
    arguments : sequence of Tensor
        An example; contiguous, with at least two rows.
    axes : sequence of int
        Where each argument has its rows.
    folder : Path
    index : mapping
        Plain data to keep with it; under "key" its :func:`key`.
    device : str

    Raises
    ------
    DmgBmiError
        If there is no compiler, or compiling fails.
    """
    lacking = missing_compiler(device)
    if lacking:
        raise DmgBmiError(lacking)
    rows = torch.export.Dim("rows", min=1)
    make_private(folder.parent)
    with replacing_folder(folder, (LIBRARY, INDEX)) as new:
        private_compiler_cache()
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            try:
                program = torch.export.export(
                    function,
                    tuple(arguments),
                    dynamic_shapes={"tensors": tuple({axis: rows} for axis in axes)},
                    strict=False,
                )
                torch._inductor.aoti_compile_and_package(program, package_path=str(new.parent / LIBRARY))
            except (RuntimeError, OSError) as problem:
                reason = (str(problem).strip() or type(problem).__name__).splitlines()[0]
                raise DmgBmiError(f"compiling failed: {reason}") from problem
        library = (new.parent / LIBRARY).read_bytes()
        content = {**index, "device": torch.device(device).type, "sha256": digest(library)}
        for name, data in ((LIBRARY, library), (INDEX, json.dumps(content).encode())):
            create(new / name, data)
            (new / name).chmod(0o600)
        new.chmod(0o700)
    return folder


def load(folder: Path, wanted: str, *, trusted: bool = False) -> tuple[Flat, dict[str, Any]] | str:
    """The compiled function and its index, or why it must not be used.

    With `trusted` it does not matter who else could have written them.
    """
    try:
        if not trusted:
            refuse_shared(folder)
        read = _read_any if trusted else read_private
        index = json.loads(read(folder, INDEX))
        if index["key"] != wanted:
            return "it was made from another bundle, code, torch or processor"
        library = read(folder, LIBRARY)
        if index["sha256"] != digest(library):
            return "it is torn"
        return _open(library, index["device"] != "cpu"), index
    except DmgBmiError as problem:
        return str(problem)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, RecursionError) as problem:
        return f"it cannot be loaded ({problem})"


def _read_any(folder: Path, name: str) -> bytes:
    return read_bytes(folder / name, DmgBmiError)


def _open(library: bytes, on_gpu: bool) -> Flat:
    """Load what was checked: a copy that only this process knows of, not the file, which may have changed."""
    with tempfile.TemporaryDirectory(prefix="dmg_bmi-") as folder:
        path = Path(folder) / LIBRARY
        path.write_bytes(library)
        # On a GPU without locks between threads, which cannot be recorded as a CUDA graph.
        try:
            run: Flat = torch._C._aoti.AOTIModelPackageLoader(str(path), "model", on_gpu, 1, -1).run
        except (AttributeError, TypeError):  # the public way imports all of the compiler, a second's work
            run = torch._inductor.aoti_load_package(str(path), run_single_threaded=on_gpu).loader.run
    return run


def _capability(device: str) -> list[Any]:
    if device.startswith("cuda"):
        return ["cuda", torch.version.cuda, *torch.cuda.get_device_capability(device)]
    return ["cpu", machine(), torch.backends.cpu.get_cpu_capability()]


def _source(of: type) -> str:
    """The file of a class; empty for one that was typed in."""
    return getattr(sys.modules.get(of.__module__), "__file__", None) or ""


#: What is typed in may change without trace, so what was compiled of it serves this process only.
_SESSION = uuid4().hex


@lru_cache
def _code(sources: frozenset[str]) -> str:
    """SHA-256 over the code that is compiled, so that nothing is used that was made before it changed."""
    files = {Path(source) for source in sources if source}
    files = {file for file in files if not file.is_relative_to(Path(torch.__file__).parent)}
    # Code that modules call without being modules: equations, networks' helpers, roles and the like.
    for package in (physics, nn_models, roles):
        files.update(Path(str(package.__file__)).parent.rglob("*.py"))
    files |= {Path(module.__file__) for module in (normalisation, sequence)}
    total = sha256()
    for file in sorted(files):
        total.update(file.read_bytes())
    return total.hexdigest()
