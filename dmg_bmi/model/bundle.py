"""Bundles: trained models on disk.

A folder with ``bundle.yaml`` (description, normalisation, variable table, provenance,
checksums) and one safetensors file of weights. Reading it never runs code.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from math import inf
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import torch

from .. import __version__
from ..errors import BundleError, ConfigError
from ..io.files import read_yaml, sha256
from .bundle_checks import check_finite, check_sizes, check_steps, round_networks
from .bundle_files import (
    DESCRIPTION,
    LearnedPart,
    checksum_of,
    find,
    fingerprint_of,
    read,
    read_checked,
    sealed,
    write,
)
from .delta_model import DeltaModel
from .normalisation import FeatureStatistics, build_statistics
from .spin_up import build_model
from .variables import Kind, Variable, check_table, from_plain, to_plain, variable_table

FORMAT = 1
#: Attempts to read a bundle that another process keeps replacing.
RETRIES = 5
T = TypeVar("T")
log = logging.getLogger("dmg_bmi")
_KEYS = {"format", "name", "summary", "model", "variables", "provenance", "weights", "checksum"}
#: Of bundles that have been hindcast.
_LEARNED = "learned_error"


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
    learned_error : mapping, optional
        Description of the learned error of its forecasts, and of the file of its weights.
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
    learned_error: Mapping[str, Any] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Return the fingerprint of all that determines results: equations, roles, statistics, weights."""
        return fingerprint_of(self.description, self.weights_sha256)

    @property
    def files(self) -> tuple[str, ...]:
        """Return the names of the files of weights."""
        learned = self.learned_error
        return (self.weights_file,) if learned is None else (self.weights_file, learned["weights"]["file"])

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
        """Read ``bundle.yaml`` of a folder, of a training's run folder, or of a shipped bundle by its name.

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
        if checksum is None or checksum != checksum_of(content):
            raise BundleError(f"{file}: does not match its checksum: it is truncated or was edited by hand")
        differing = ", ".join(sorted((content.keys() - {_LEARNED}) ^ (_KEYS - {"checksum"})))
        if differing:
            raise BundleError(f"{file}: missing or unknown keys: {differing}")
        try:
            weights, digest = content["weights"]["file"], content["weights"]["sha256"]
            learned = content.get(_LEARNED)
            files = [weights] if learned is None else [weights, learned["weights"]["file"]]
            table = from_plain(content["variables"])
            if not 0 < float(content["model"]["step"]) < inf:
                raise ValueError(
                    f"a model's step must be a number of seconds, not {content['model']['step']}"
                )
        except (KeyError, TypeError, ValueError) as problem:
            raise BundleError(f"{file}: is not a valid bundle description: {problem}") from problem
        for name in files:
            if not isinstance(name, str) or Path(name).name != name or "\0" in name:
                raise BundleError(f"{file}: weights file {name!r} must be in the bundle's folder")
        return cls(
            content["name"],
            content["summary"],
            content["model"],
            table,
            content["provenance"],
            weights,
            digest,
            folder,
            learned_error=learned,
        )

    def copy(self, folder: Path, learned: LearnedPart | None = None) -> BundleInfo:
        """Write the same bundle into a folder, which may be its own.

        Parameters
        ----------
        folder : Path
        learned : LearnedPart, optional
            The learned error that the copy has in the place of its own.

        Raises
        ------
        BundleError
            If it is not valid, or the learned error is of another model.
        """

        def read_all(info: BundleInfo) -> tuple[dict[str, bytes], bytes]:
            description, files = read(info.path / DESCRIPTION), {info.weights_file: info._weights()}
            part = info.learned_part() if learned is None else learned
            now = BundleInfo.read(info.path)
            if now.fingerprint != info.fingerprint or now.learned_error != info.learned_error:
                raise BundleError(f"{info.path}: is being replaced; try again")
            if learned is not None:
                if learned.description["model"] != info.fingerprint:
                    raise BundleError(f"{info.path}: the learned error is of another model's forecasts")
                content = dict(read_yaml(info.path / DESCRIPTION, BundleError))
                content[_LEARNED], _ = learned.named()
                description = sealed(content)
            return files | ({} if part is None else part.named()[1]), description

        write(folder, *self._retry_if_replaced(read_all))
        return BundleInfo.read(folder)

    def learned_part(self) -> LearnedPart | None:
        """Return the learned error that the bundle holds; BundleError if its file is damaged."""
        if self.learned_error is None:
            return None
        described = {k: v for k, v in self.learned_error.items() if k != "weights"}
        of_file = self.learned_error["weights"]
        return LearnedPart(described, read_checked(self.path / of_file["file"], of_file.get("sha256")))

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
        return read_checked(self.path / self.weights_file, self.weights_sha256)

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
            check_sizes(self.description, weights)
            check_finite(weights)
            model = build_model(self.description)
            dtype = next((w.dtype for w in weights.values() if w.is_floating_point()), torch.float32)
            model.to(dtype).load_state_dict(weights)
            derived: dict[tuple[Kind, str], tuple[int, str]] = {
                (v.kind, v.symbol): (v.size, v.of) for v in check_table(variable_table(model))
            }
        except Exception as problem:  # a description may be wrong in any way
            raise BundleError(f"{self.path}: weights and description do not fit: {problem}") from problem
        self._check_variables(derived)
        check_steps(model, self.name)
        if self.network_precision is not None:
            round_networks(model, self.name)
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
    learned_error : LearnedPart, optional
        Of the model's forecasts; not saved with a model that has changed since.
    """

    model: DeltaModel
    name: str
    summary: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    learned_error: LearnedPart | None = None

    @classmethod
    def load(cls, path: str | Path, trainable: bool = False) -> Bundle:
        """Load a bundle from disk.

        Parameters
        ----------
        path : path
            Its folder, that of a training, or the name of a shipped bundle.
        trainable : bool
            Let the weights take gradients, and the model train (with dropout) until ``model.eval()``. By
            default it evaluates and its weights are held.

        Returns
        -------
        Bundle

        Raises
        ------
        BundleError
            If it is missing, damaged, or of a newer format.
        """
        info, model = BundleInfo.read(path).load()
        model.train(trainable).requires_grad_(trainable)
        return cls(model, info.name, info.summary, info.provenance, info.learned_part())

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
        files, learned = {file: weights}, self.learned_error
        if learned is not None and learned.description["model"] == fingerprint_of(content["model"], digest):
            content[_LEARNED], of_learned = learned.named()
            files |= of_learned
        elif learned is not None:
            log.warning(
                "%s: the model has changed since the error of its forecasts was learned, which is not saved; "
                "learn it again with dmg-bmi hindcast --save-bundle",
                self.name,
            )
        write(folder, files, sealed(content))
        return BundleInfo.read(folder)

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
        check_steps(self.model, self.name)
        state = {k: v.detach().contiguous().cpu() for k, v in self.model.state_dict().items()}
        try:
            check_finite(state)
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
            round_networks(model, self.name)
        return model.eval().requires_grad_(False)
