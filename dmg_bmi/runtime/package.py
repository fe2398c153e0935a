"""Ahead-of-time compiled steps: built once by ``dmg-bmi compile``, loaded in milliseconds.

A package is a shared library, so it never lives in a bundle: it stands in the user's private
cache, or at a path that the user's own run configuration trusts. It is used only if it was
made from this bundle by this code, with this torch, for this kind of processor; otherwise
the eager engine gives the same answers.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import stat
import tempfile
import warnings
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from platform import machine
from typing import Any

import torch
from torch import Tensor, nn

from ..bundle import BundleInfo
from ..delta_model import DeltaModel
from ..errors import DmgBmiError
from ..files import canonical
from ..files import sha256 as digest
from ..physics import State

log = logging.getLogger("dmg_bmi")
LIBRARY, INDEX = "step.pt2", "package.json"


@dataclass(frozen=True)
class Signature:
    """Names of the tensors that a package takes and gives, in order."""

    forcing: tuple[str, ...]
    prepared: tuple[str, ...]
    state: tuple[str, ...]
    fluxes: tuple[str, ...]
    renewed: tuple[str, ...]


class _FlatStep(nn.Module):
    """One step of a model on a flat list of tensors."""

    def __init__(self, model: DeltaModel, signature: Signature) -> None:
        super().__init__()
        self.model, self.signature = model, signature

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        s, rest = self.signature, iter(tensors)
        forcing, prepared, state = (
            {k: next(rest) for k in names} for names in (s.forcing, s.prepared, s.state)
        )
        fluxes, new = self.model.run(forcing, prepared, state)
        return (*(fluxes[k] for k in s.fluxes), *(new[k] for k in s.renewed))


class Package:
    """The engine of a compiled step.

    Parameters
    ----------
    folder : Path
        With the library and its index.
    """

    def __init__(self, folder: Path) -> None:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        self.signature = Signature(**{k: tuple(v) for k, v in index["signature"].items()})
        self._prepared: State = {}
        self._constant: list[Tensor] = []
        self._step = torch._inductor.aoti_load_package(str(folder / LIBRARY)).loader

    @torch.inference_mode()
    def run(
        self,
        forcing: Mapping[str, Tensor],
        prepared: State,
        state: State,
        outputs: Collection[str] | None = None,
    ) -> tuple[dict[str, Tensor], State]:
        """See :class:`dmg_bmi.runtime.engine.Engine`."""
        s = self.signature
        if prepared is not self._prepared:
            self._prepared = prepared
            self._constant = [prepared[k].contiguous() for k in s.prepared]
        state = {**state, **{k: state[k].contiguous() for k in s.state}}
        series = [forcing[k] for k in s.forcing]
        wanted = [(i, k) for i, k in enumerate(s.fluxes) if outputs is None or k in outputs]
        kept: list[list[Tensor]] = []
        for t in range(series[0].shape[0]):
            now = [values[t : t + 1].contiguous() for values in series]
            given = self._step.run([*now, *self._constant, *(state[k] for k in s.state)])
            # Compiled code takes the strides of its arguments for granted, and gives back views.
            renewed = (tensor.contiguous() for tensor in given[len(s.fluxes) :])
            state = {**state, **dict(zip(s.renewed, renewed, strict=True))}
            kept.append([given[i] for i, _ in wanted])
        joined = kept[0] if len(kept) == 1 else [torch.cat(parts) for parts in zip(*kept, strict=True)]
        return {k: values for (_, k), values in zip(wanted, joined, strict=True)}, state


def build(info: BundleInfo, folder: Path, device: str = "cpu") -> Path:
    """Compile one step of a bundle's model, for any number of rows, into `folder`.

    Raises
    ------
    DmgBmiError
        If there is no compiler, or compiling fails.
    """
    if device == "cpu" and not any(shutil.which(c) for c in (os.environ.get("CXX", "g++"), "clang++")):
        raise DmgBmiError("compiling needs a C++ compiler (g++ or clang++); the eager engine needs none")
    model = info.load_model().to(device)
    arguments, signature = _example(model, device)
    rows = torch.export.Dim("rows", min=1)
    axes = tuple({1: rows} if k < len(signature.forcing) else {0: rows} for k in range(len(arguments)))
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.export.export(
                _FlatStep(model, signature), arguments, dynamic_shapes={"tensors": axes}, strict=False
            )
            torch._inductor.aoti_compile_and_package(program, package_path=str(work / LIBRARY))
        index = {
            "key": key(info, device),
            "sha256": digest((work / LIBRARY).read_bytes()),
            "signature": asdict(signature),
        }
        (work / INDEX).write_text(json.dumps(index), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        work.rename(folder)
    except (RuntimeError, OSError) as problem:
        raise DmgBmiError(f"compiling {info.name} failed: {problem}") from problem
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def _example(model: DeltaModel, device: str) -> tuple[tuple[Tensor, ...], Signature]:
    """Arguments of a small step, and the names of what goes in and comes out."""
    n = 3
    attributes = {k: torch.ones(n, dtype=torch.float64, device=device) for k in model.attribute_names}
    forcing = {k: torch.ones(1, n, dtype=torch.float64, device=device) for k in model.forcing_names}
    with torch.no_grad():
        prepared = model.prepare(attributes, n)
        state = model.init_state(n, device=device)
        fluxes, new = model.run(forcing, prepared, state)
    signature = Signature(tuple(forcing), tuple(prepared), tuple(state), tuple(fluxes), tuple(new))
    given = (*forcing.values(), *prepared.values(), *state.values())
    return tuple(tensor.contiguous() for tensor in given), signature


def key(info: BundleInfo, device: str) -> str:
    """Of all that a package depends on."""
    parts = {
        "bundle": info.fingerprint,
        "code": _code(),
        "torch": torch.__version__,
        "device": _capability(device),
    }
    return digest(canonical(parts))


def _capability(device: str) -> list[Any]:
    if device.startswith("cuda"):
        return ["cuda", torch.version.cuda, *torch.cuda.get_device_capability(device)]
    return ["cpu", machine(), torch.backends.cpu.get_cpu_capability()]


@lru_cache(maxsize=1)
def _code() -> str:
    """Of the equations, so that a package made before they changed is not used."""
    from .. import delta_model, nn_models, physics

    files = sorted(Path(delta_model.__file__).parent.glob("*.py"))
    for package in (physics, nn_models):
        files += sorted(Path(str(package.__file__)).parent.glob("*.py"))
    total = sha256()
    for file in files:
        total.update(file.read_bytes())
    return total.hexdigest()


def cache_folder(info: BundleInfo, device: str = "cpu") -> Path:
    """Where the user's own package of a bundle stands."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "dmg_bmi" / "compiled" / key(info, device)[:32]


def find(info: BundleInfo, device: str = "cpu", trusted: Path | None = None) -> Package | None:
    """The compiled step of a bundle if a usable one is there; one line says why not.

    Parameters
    ----------
    trusted : Path, optional
        Folder that the run configuration names, instead of the user's cache.
    """
    folder = trusted or cache_folder(info, device)
    if not (folder / INDEX).is_file():
        if trusted is not None:
            log.warning("%s: holds no compiled step; going on with the eager engine", folder)
        return None
    try:
        reason = _wrong(folder, key(info, device)) or (None if trusted is not None else _unsafe(folder))
        if reason is None:
            return Package(folder)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as problem:
        reason = f"it cannot be loaded ({problem})"
    log.warning("%s: the compiled step is not used: %s; going on with the eager engine", folder, reason)
    return None


def _wrong(folder: Path, wanted: str) -> str | None:
    """Why a package must not be used although it is there."""
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    if index["key"] != wanted:
        return "it was made from another bundle, code, torch or processor"
    if index["sha256"] != digest((folder / LIBRARY).read_bytes()):
        return "it is torn"
    return None


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
