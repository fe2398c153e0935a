"""Functions of tensors compiled ahead of time, kept in the user's private cache.

A compiled function is a shared library, so it is loaded only from a folder of the user's own that
nobody else can write, and only if it was built from this code, with this torch, for this kind of processor.
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
    """Return what to install if no compiler for a device is found, else None."""
    if device.startswith("cuda") or any(shutil.which(c) for c in (os.environ.get("CXX", "g++"), "clang++")):
        return None
    return "compiling requires a C++ compiler (g++ or clang++); the eager engine requires none"


def key(function: nn.Module, device: str, **parts: Any) -> str:
    """Compute SHA-256 over everything that a compiled function depends on.

    Parameters
    ----------
    function : nn.Module
        The function to compile; its code is that of all its modules.
    device : str
    **parts : plain data
        Everything else that distinguishes functions of the same code.
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
        From tensors to a tuple of tensors.
    arguments : sequence of Tensor
        An example; contiguous, with at least two rows.
    axes : sequence of int
        Axis of the rows of each argument.
    folder : Path
    index : mapping
        Plain data to keep with it; under "key" its :func:`key`.
    device : str

    Raises
    ------
    DmgBmiError
        If no compiler is found, or compiling fails.
    """
    problem = missing_compiler(device)
    if problem:
        raise DmgBmiError(problem)
    make_private(folder.parent)
    with replacing_folder(folder, (LIBRARY, INDEX)) as new:
        _compile(function, arguments, axes, new.parent / LIBRARY)
        library = (new.parent / LIBRARY).read_bytes()
        content = {**index, "device": torch.device(device).type, "sha256": digest(library)}
        for name, data in ((LIBRARY, library), (INDEX, json.dumps(content).encode())):
            create(new / name, data)
            (new / name).chmod(0o600)
        new.chmod(0o700)
    return folder


def _compile(function: nn.Module, arguments: Sequence[Tensor], axes: Sequence[int], library: Path) -> None:
    rows = torch.export.Dim("rows", min=1)
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
            torch._inductor.aoti_compile_and_package(program, package_path=str(library))
        except (RuntimeError, OSError) as problem:
            reason = (str(problem).strip() or type(problem).__name__).splitlines()[0]
            raise DmgBmiError(f"compiling failed: {reason}") from problem


def load(folder: Path, expected_key: str, *, trusted: bool = False) -> tuple[Flat, dict[str, Any]] | str:
    """Load a compiled function and its index, or return why it must not be used.

    With `trusted` it does not matter who else could have written them.
    """
    try:
        if not trusted:
            refuse_shared(folder)
        read = _read_any if trusted else read_private
        index = json.loads(read(folder, INDEX))
        if index["key"] != expected_key:
            return "it was built from another bundle, code, torch or processor"
        library = read(folder, LIBRARY)
        if index["sha256"] != digest(library):
            return "it is corrupt or truncated"
        return _open(library, index["device"] != "cpu"), index
    except DmgBmiError as problem:
        return str(problem)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, RecursionError) as problem:
        return f"it cannot be loaded ({problem})"


def _read_any(folder: Path, name: str) -> bytes:
    return read_bytes(folder / name, DmgBmiError)


def _open(library: bytes, on_gpu: bool) -> Flat:
    """Load the checked bytes from a copy private to this process, not the file, which may have changed."""
    with tempfile.TemporaryDirectory(prefix="dmg_bmi-") as folder:
        path = Path(folder) / LIBRARY
        path.write_bytes(library)
        # On a GPU without locks between threads, which cannot be recorded as a CUDA graph.
        try:
            run: Flat = torch._C._aoti.AOTIModelPackageLoader(str(path), "model", on_gpu, 1, -1).run
        except (AttributeError, TypeError):  # the public way imports the whole compiler, which takes a second
            run = torch._inductor.aoti_load_package(str(path), run_single_threaded=on_gpu).loader.run
    return run


def _capability(device: str) -> list[Any]:
    if device.startswith("cuda"):
        return ["cuda", torch.version.cuda, *torch.cuda.get_device_capability(device)]
    return ["cpu", machine(), torch.backends.cpu.get_cpu_capability()]


def _source(kind: type) -> str:
    """Return the file of a class; empty for one that was typed in."""
    return getattr(sys.modules.get(kind.__module__), "__file__", None) or ""


#: Code that was typed in may change without trace, so it is compiled for this process only.
_SESSION = uuid4().hex


@lru_cache
def _code(sources: frozenset[str]) -> str:
    """Compute SHA-256 over the code that is compiled, so that a change of it is noticed."""
    files = {Path(source) for source in sources if source}
    files = {file for file in files if not file.is_relative_to(Path(torch.__file__).parent)}
    # Code that modules call without being modules: equations, networks' helpers, roles and the like.
    for package in (physics, nn_models, roles):
        files.update(Path(str(package.__file__)).parent.rglob("*.py"))
    files |= {Path(str(module.__file__)) for module in (normalisation, sequence)}
    total = sha256()
    for file in sorted(files):
        total.update(file.read_bytes())
    return total.hexdigest()
