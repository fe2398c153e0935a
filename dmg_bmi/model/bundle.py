"""Bundles: trained models on disk.

A folder with ``bundle.yaml`` (description, normalisation, variable table, provenance,
checksums) and one safetensors file of weights. Reading it never runs code.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from math import inf
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import torch
import yaml

from .. import __version__
from ..errors import BundleError, ConfigError
from ..io.atomic import LOCK, create, locked, make_folder, put
from ..io.files import as_path, canonical, read_bytes, read_yaml, sha256
from ..physics import ProcessModel
from .delta_model import DeltaModel
from .normalisation import FeatureStatistics, build_statistics
from .spin_up import build_model
from .variables import Kind, Variable, check_table, from_plain, to_plain, variable_table

FORMAT = 1
DESCRIPTION = "bundle.yaml"
MAX_WEIGHTS = 8 * 2**30
#: Attempts to read a bundle that another process keeps replacing.
RETRIES = 5
T = TypeVar("T")
SHIPPED = Path(__file__).parent.parent / "bundles"
log = logging.getLogger("dmg_bmi")
#: The name of a weights file, whose digits are the first of its checksum.
_WEIGHTS = re.compile(r"weights-[0-9a-f]{12}\.safetensors")
_KEYS = {"format", "name", "summary", "model", "variables", "provenance", "weights", "checksum"}


@dataclass(frozen=True)
class BundleInfo:
    """A bundle without its weights.

    Parameters
    ----------
    name, summary : str
    description : mapping
        Arguments of :meth:`DeltaModel.build`.
    variables : tuple of Variable
    provenance : mapping
        Date, versions and data of the training.
    weights_file, weights_sha256 : str
    path : Path
        The bundle's folder.
    network_precision : {"bfloat16"}, optional
        Precision to which weights of networks are rounded when the model is loaded.
    """

    name: str
    summary: str
    description: Mapping[str, Any]
    variables: tuple[Variable, ...]
    provenance: Mapping[str, Any]
    weights_file: str
    weights_sha256: str
    path: Path
    network_precision: str | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Return the fingerprint of all that determines results: equations, roles, statistics, weights."""
        return _fingerprint(self.description, self.weights_sha256)

    @cached_property
    def by_name(self) -> dict[str, Variable]:
        """Return the rows of the variable table by name and by symbol."""
        table = self.variables
        return {v.symbol: v for v in table} | {v.name: v for v in table}

    @cached_property
    def statistics(self) -> dict[str, FeatureStatistics]:
        """Return the statistics of the networks' inputs, by symbol."""
        try:
            return build_statistics(self.description.get("statistics") or {})
        except (AttributeError, TypeError, ConfigError) as problem:
            raise BundleError(f"{self.path}: is not a valid bundle description: {problem}") from problem

    @classmethod
    def read(cls, path: str | Path) -> BundleInfo:
        """Read ``bundle.yaml`` of a folder, or of a shipped bundle by its name.

        Raises
        ------
        BundleError
            If it is missing, truncated, tampered with, or of a newer format.
        """
        folder = find(path).absolute()
        status = (folder / DESCRIPTION).stat()
        return cls._read(folder, status.st_ino, status.st_mtime_ns, status.st_size)

    @classmethod
    @lru_cache(maxsize=64)
    def _read(cls, folder: Path, inode: int, mtime_ns: int, size: int) -> BundleInfo:
        """Read the description once per process for many components."""
        file = folder / DESCRIPTION
        content = read_yaml(file, BundleError)
        version = content.get("format")
        if not isinstance(version, int) or version < 1:
            raise BundleError(f"{file}: is not a bundle description (key 'format' is {version!r})")
        if version > FORMAT:
            raise BundleError(
                f"{file}: has format {version}; this dmg_bmi {__version__} reads up to {FORMAT}: upgrade it"
            )
        checksum = content.pop("checksum", None)
        if checksum is None or checksum != _checksum(content):
            raise BundleError(f"{file}: does not match its checksum: it is truncated or was edited by hand")
        if content.keys() != _KEYS - {"checksum"}:
            differing = ", ".join(sorted(content.keys() ^ (_KEYS - {"checksum"})))
            raise BundleError(f"{file}: missing or unknown keys: {differing}")
        try:
            weights, digest = content["weights"]["file"], content["weights"]["sha256"]
            table = from_plain(content["variables"])
            if not 0 < float(content["model"]["step"]) < inf:
                raise ValueError(
                    f"a model's step must be a number of seconds, not {content['model']['step']}"
                )
        except (KeyError, TypeError, ValueError) as problem:
            raise BundleError(f"{file}: is not a valid bundle description: {problem}") from problem
        if not isinstance(weights, str) or Path(weights).name != weights or "\0" in weights:
            raise BundleError(f"{file}: weights file {weights!r} must be in the bundle's folder")
        return cls(
            content["name"],
            content["summary"],
            content["model"],
            table,
            content["provenance"],
            weights,
            digest,
            folder,
        )

    def copy(self, folder: Path) -> BundleInfo:
        """Write the same bundle into another folder; BundleError if it is not valid."""

        def read_all(info: BundleInfo) -> tuple[str, bytes, bytes]:
            description, weights = _read(info.path / DESCRIPTION), info._weights()
            if BundleInfo.read(info.path).fingerprint != info.fingerprint:
                raise BundleError(f"{info.path}: is being replaced; try again")
            return info.weights_file, weights, description

        return _write(folder, *self._retry_if_replaced(read_all))

    def _retry_if_replaced(self, action: Callable[[BundleInfo], T]) -> T:
        """Apply `action` to this bundle, or to the one that has been saved over it since it was read."""
        info = self
        for _ in range(RETRIES):
            try:
                return action(info)
            except BundleError:
                now = BundleInfo.read(self.path)
                if now.fingerprint == info.fingerprint or now.variables != self.variables:
                    raise
                info = replace(now, network_precision=self.network_precision)
        return action(info)

    def load(self) -> tuple[BundleInfo, DeltaModel]:
        """Load the model, and its description.

        The description is this one, or one with the same variables that has been saved over it since.

        Raises
        ------
        BundleError, ConfigError
            See :meth:`load_model`.
        """
        return self._retry_if_replaced(lambda info: (info, info.load_model()))

    def _weights(self) -> bytes:
        """Read the weights file, and check it against the description."""
        file = self.path / self.weights_file
        content = _read(file)
        if sha256(content) != self.weights_sha256:
            raise BundleError(f"{file}: does not match its checksum: it is truncated or was replaced")
        return content

    def load_model(self) -> DeltaModel:
        """Build the model and load its weights, in evaluation mode.

        Raises
        ------
        BundleError
            If the weights are missing, truncated or do not fit the description, or the model cannot step.
        ConfigError
            If its networks do not support the requested precision.
        """
        content = self._weights()
        try:
            weights = safetensors.torch.load(content)
            _check_sizes(self.description, weights)
            _check_finite(weights)
            model = build_model(self.description)
            dtype = next((w.dtype for w in weights.values() if w.is_floating_point()), torch.float32)
            model.to(dtype).load_state_dict(weights)
            derived: dict[tuple[Kind, str], tuple[int, str]] = {
                (v.kind, v.symbol): (v.size, v.of) for v in check_table(variable_table(model))
            }
        except Exception as problem:  # a description may be wrong in any way
            raise BundleError(f"{self.path}: weights and description do not fit: {problem}") from problem
        self._check_variables(derived)
        _check_steps(model, self.name)
        if self.network_precision is not None:
            _round(model, self.name)
        return model.eval().requires_grad_(False)

    def _check_variables(self, derived: Mapping[tuple[Kind, str], tuple[int, str]]) -> None:
        """Refuse a variable table that does not fit the model: size and source by kind and symbol."""
        for variable in self.variables:
            if derived.get((variable.kind, variable.symbol)) != (variable.size, variable.of):
                raise BundleError(
                    f"{self.path}: the model has no {variable.kind} {variable.symbol!r} of size "
                    f"{variable.size}" + (f" that is computed from {variable.of!r}" if variable.of else "")
                )
        listed = {(v.kind, v.symbol) for v in self.variables}
        for kind, symbol in derived:
            if kind in ("input", "attribute") and (kind, symbol) not in listed:
                raise BundleError(
                    f"{self.path}: the model requires the {kind} {symbol!r}, which is not in its table"
                )


@dataclass
class Bundle:
    """A trained model with all that is needed to use it elsewhere.

    Parameters
    ----------
    model : DeltaModel
    name : str
    summary : str
        One line for people.
    provenance : mapping
        Training data, period and scores, as plain data.
    """

    model: DeltaModel
    name: str
    summary: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path) -> Bundle:
        """Load a bundle folder, or a shipped bundle by its name; BundleError if it is not valid."""
        info, model = BundleInfo.read(path).load()
        return cls(model, info.name, info.summary, info.provenance)

    def save(self, path: str | Path) -> BundleInfo:
        """Write the bundle into a folder, replacing an older one there in one step.

        The weights are written first, under a name of their own; renaming ``bundle.yaml`` into
        place makes the new bundle valid, so a crash leaves the old one intact. If several
        processes save into one folder, the last wins.

        Raises
        ------
        BundleError
            If a process model runs whole sequences only, or the folder cannot be written.
        """
        folder = Path(path)
        weights = self._weights()
        digest = sha256(weights)
        file = f"weights-{digest[:12]}.safetensors"
        content = json.loads(
            json.dumps(
                {
                    "format": FORMAT,
                    "name": self.name,
                    "summary": self.summary,
                    "model": self.model.describe(),
                    "variables": to_plain(variable_table(self.model)),
                    "provenance": {
                        "created": datetime.now(UTC).isoformat(timespec="seconds"),
                        "dmg_bmi": __version__,
                        "torch": torch.__version__,
                        **self.provenance,
                    },
                    "weights": {"file": file, "sha256": digest},
                },
                default=float,
            )
        )
        content["checksum"] = sha256(canonical(content))
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)
        return _write(folder, file, weights, text.encode("utf-8"))

    def in_memory(self) -> BundleInfo:
        """Return a description from which the model is loaded as it is now, without a file.

        Its fingerprint is that of the saved bundle.

        Raises
        ------
        BundleError
            If a process model runs whole sequences only, or weights are not finite.
        """
        return _InMemory(
            self.name,
            self.summary,
            json.loads(json.dumps(self.model.describe(), default=float)),
            variable_table(self.model),
            self.provenance,
            "",
            sha256(self._weights()),
            Path(self.name),
            model=copy.deepcopy(self.model),
        )

    def _weights(self) -> bytes:
        """Return the weights as the content of a file; BundleError if no component could use them."""
        _check_steps(self.model, self.name)
        state = {k: v.detach().contiguous().cpu() for k, v in self.model.state_dict().items()}
        try:
            _check_finite(state)
        except ConfigError as problem:
            raise BundleError(f"{self.name}: cannot be saved: {problem}") from problem
        return safetensors.torch.save(state)


@dataclass(frozen=True)
class _InMemory(BundleInfo):
    """A bundle that is nowhere on disk."""

    model: DeltaModel | None = None

    def load_model(self) -> DeltaModel:
        """Return a copy of the model, see :meth:`BundleInfo.load_model`."""
        assert self.model is not None  # noqa: S101  only to follow fields that have a default
        model = copy.deepcopy(self.model)
        if self.network_precision is not None:
            _round(model, self.name)
        return model.eval().requires_grad_(False)


def _read(file: Path) -> bytes:
    return read_bytes(file, BundleError, MAX_WEIGHTS)


def _write(folder: Path, file: str, weights: bytes, description: bytes) -> BundleInfo:
    """Write weights and then the description into a folder, and remove the weights of an older bundle."""
    make_folder(folder)
    with locked(folder / DESCRIPTION) as workspace:
        for name, content in ((file, weights), (DESCRIPTION, description)):
            create(workspace / name, content)
            put(workspace / name, folder / name)
        # Without locks, weights that look stale may be those that another process is about to publish.
        for stale in folder.iterdir() if (workspace / LOCK).exists() else ():
            if _WEIGHTS.fullmatch(stale.name) and stale.name != file:
                stale.unlink(missing_ok=True)
        return BundleInfo.read(folder)


def find(path: str | Path) -> Path:
    """Return the folder that `path` names: itself, or the shipped bundle of that name."""
    folder = as_path(path, BundleError)
    if not os.path.isfile(folder / DESCRIPTION):
        shipped = SHIPPED / str(path)
        if os.path.isfile(shipped / DESCRIPTION):
            if os.path.exists(folder):
                log.warning("%s: is not a bundle; the shipped bundle of that name is taken", folder)
            return shipped
        names = ", ".join(sorted(p.parent.name for p in SHIPPED.glob(f"*/{DESCRIPTION}")))
        raise BundleError(f"{folder}: no bundle found (no {DESCRIPTION}); shipped: {names or 'none'}")
    return folder


def _check_sizes(description: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> None:
    """Refuse a description that does not fit the weights, before memory is allocated for it."""
    try:
        with torch.device("meta"):
            described = build_model(description).state_dict()
    except Exception:  # what cannot be built without memory is checked when it is built with it
        return
    differing = [
        k
        for k in {*described, *weights}
        if k not in described or k not in weights or described[k].shape != weights[k].shape
    ]
    if differing:
        raise ConfigError(f"other names or sizes: {', '.join(sorted(differing)[:3])}")


def _check_finite(weights: Mapping[str, torch.Tensor]) -> None:
    """Refuse weights that are not finite, naming the first such tensor."""
    for name, values in weights.items():
        # The sum is one pass; since it may also overflow, only then is each number checked.
        if values.is_floating_point() and not values.sum().isfinite():
            bad = int((~values.isfinite()).sum())
            if bad:
                raise ConfigError(
                    f"tensor {name!r} has {bad} of {values.numel()} values that are NaN or infinite; "
                    "train the model again, or take an earlier bundle of it"
                )


def _check_steps(model: DeltaModel, name: str) -> None:
    """Refuse a model that the BMI, which steps, could not run."""
    for part in model.modules():
        if isinstance(part, ProcessModel) and part.sequence_only:
            raise BundleError(
                f"{name}: process model {part.declaration.name!r} trains and runs forward, but a bundle "
                f"and the BMI require one that steps: {part.sequence_only}"
            )


def _round(model: DeltaModel, name: str) -> None:
    """Round the weights of networks to bfloat16."""
    if not model.networks:
        raise ConfigError(f"network_precision: {name} has no networks; leave it out")
    for key, network in model.networks.items():
        if not network.takes_bfloat16:
            raise ConfigError(
                f"network_precision: network {key!r} ({type(network).__name__}) runs only in its training "
                "precision; leave it out"
            )
        network.to(torch.bfloat16)


def _checksum(content: Mapping[str, Any]) -> str | None:
    """Compute the checksum of plain data; None for data that no bundle holds, such as a date."""
    try:
        return sha256(canonical(content))
    except TypeError:
        return None


def _fingerprint(description: Mapping[str, Any], weights_sha256: str) -> str:
    return sha256(canonical({"model": description, "weights": weights_sha256}))
