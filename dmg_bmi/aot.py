"""Functions of tensors compiled ahead of time, kept in the user's private cache.

What is compiled is a shared library, so it is loaded only from a folder of the user's own that
nobody else can write, or one that the user trusts; and only if it was made by this code, with
this torch, for this kind of processor.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
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

from .errors import DmgBmiError
from .files import canonical
from .files import sha256 as digest

LIBRARY, INDEX = "step.pt2", "package.json"
#: From tensors to tensors, by position.
Flat = Callable[[list[Tensor]], list[Tensor]]


def cache_base() -> Path:
    """The user's folder of compiled code, which looking for some does not make: it may not be writable."""
    # Not Path.home, which raises where a container's user has no home.
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "dmg_bmi"


def private(folder: Path) -> Path:
    """Make a folder that is its owner's alone."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True, mode=0o700)
    return folder


def missing_compiler(device: str) -> str | None:
    """What to install, if there is no compiler for a device."""
    if device.startswith("cuda") or any(shutil.which(c) for c in (os.environ.get("CXX", "g++"), "clang++")):
        return None
    return "compiling needs a C++ compiler (g++ or clang++); the eager engine needs none"


def key(model: nn.Module, device: str, **parts: Any) -> str:
    """Of all that a compiled function of `model` depends on; `parts` say which function it is."""
    return digest(
        canonical(
            {
                **parts,
                "code": _code(tuple(sorted({_source(type(m)) for m in model.modules()}))),
                "session": {type(m).__qualname__: _SESSION for m in model.modules() if not _source(type(m))},
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
    private(folder.parent)
    work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.export.export(
                function,
                tuple(arguments),
                dynamic_shapes={"tensors": tuple({axis: rows} for axis in axes)},
                strict=False,
            )
            torch._inductor.aoti_compile_and_package(program, package_path=str(work / LIBRARY))
        kind = torch.device(device).type
        content = {**index, "device": kind, "sha256": digest((work / LIBRARY).read_bytes())}
        (work / INDEX).write_text(json.dumps(content), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        work.rename(folder)
    except (RuntimeError, OSError) as problem:
        reason = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        raise DmgBmiError(f"compiling failed: {reason}") from problem
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def load(folder: Path, wanted: str, *, trusted: bool = False) -> tuple[Flat, dict[str, Any]] | str:
    """The compiled function and its index, or why it must not be used."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if index["key"] != wanted:
            return "it was made from another bundle, code, torch or processor"
        if index["sha256"] != digest((folder / LIBRARY).read_bytes()):
            return "it is torn"
        reason = None if trusted else _unsafe(folder)
        if reason is not None:
            return reason
        return _open(str(folder / LIBRARY), index["device"] != "cpu"), index
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as problem:
        return f"it cannot be loaded ({problem})"


def _open(library: str, on_gpu: bool) -> Flat:
    # On a GPU without locks between threads, which cannot be recorded as a CUDA graph.
    try:
        run: Flat = torch._C._aoti.AOTIModelPackageLoader(library, "model", on_gpu, 1, -1).run
    except (AttributeError, TypeError):  # the public way imports all of the compiler, which takes a second
        run = torch._inductor.aoti_load_package(library, run_single_threaded=on_gpu).loader.run
    return run


def _unsafe(folder: Path) -> str | None:
    """Why a package in the cache must not be loaded: somebody else could have written it."""
    if os.name == "nt":
        return None
    for path in (folder, folder / INDEX, folder / LIBRARY):
        status = path.stat()
        if status.st_uid != os.getuid():
            return f"{path} belongs to another user"
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return f"{path} can be written by others"
    return None


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
def _code(sources: tuple[str, ...]) -> str:
    """Of the equations, so that what was made before they changed is not used."""
    from . import nn_models, physics

    files = {
        Path(source)
        for source in sources
        if source and not Path(source).is_relative_to(Path(torch.__file__).parent)
    }
    for folder in (Path(__file__).parent, *(Path(str(p.__file__)).parent for p in (physics, nn_models))):
        files.update(folder.glob("*.py"))
    total = sha256()
    for file in sorted(files):
        total.update(file.read_bytes())
    return total.hexdigest()
