"""Snapshots as bytes and as files, and the checks that one read back must pass."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from math import inf
from pathlib import Path

import numpy as np
import torch

from ..arrays import BoolArray, FloatArray
from ..errors import AttributeTableError, ConfigError, StateError
from ..io.atomic import make_folder
from ..io.files import require_file_name
from ..model.variables import Variable
from . import state_codec
from .catchments import check_attribute
from .group import Group
from .model_step import ModelStep
from .observed_window import WINDOW, ObservedWindow
from .snapshot import CHANGED, RUNTIME, Snapshot

#: How ``{time}`` in the path of a state file is written.
TIME = "%Y-%m-%dT%H%M"
#: No quantity of a model comes near; NaN is not less either.
MOST = 1e30


def encode(snapshot: Snapshot) -> bytes:
    """Return a snapshot as bytes."""
    return state_codec.encode(snapshot.header, snapshot.tensors)


def decode(content: bytes, source: str) -> Snapshot:
    """Return the snapshot that bytes hold; it is still to be checked.

    Raises
    ------
    StateError
        Foreign, corrupt or truncated, or of a newer version.
    """
    return Snapshot(*state_codec.decode(content, source))


# -- checks -----------------------------------------------------------------------


def check(saved: Snapshot, current: Snapshot, step: ModelStep, group: Group, source: str) -> None:
    """Refuse a snapshot that a component cannot go on from.

    Parameters
    ----------
    saved, current : Snapshot
        What was read, and what the component is now.
    step : ModelStep
        Of the component.
    group : Group
        Of the component.
    source : str
        Where `saved` comes from, for messages.

    Raises
    ------
    StateError
        If it was saved by something else, at another time, or holds what cannot be.
    """
    _check_origin(saved, current, source)
    _check_shapes(saved, current, group, source)
    _check_attributes(saved, current, group, source)
    try:
        position = step.restored(saved.header).position
    except ValueError as problem:
        raise StateError(f"{source}: its header is not valid: {problem}") from problem
    if current.header["valid_time"] is not None and position != current.header["position"]:
        raise StateError(f"{source}: was saved with another day_start_hour")
    _check_state(saved, current, group, source)
    _check_runtime(saved, position, group, source)


def _check_origin(saved: Snapshot, current: Snapshot, source: str) -> None:
    for key, meaning in (
        ("fingerprint", "another bundle"),
        ("ids", "other catchments"),
        ("time_step", "another time step"),
        ("stored_forcing", "another kind of forcing"),
    ):
        if saved.header.get(key) != current.header[key]:
            raise StateError(f"{source}: was saved by {meaning} ({key} differs)")
    time = saved.header.get("valid_time")
    if time != current.header["valid_time"]:
        raise StateError(
            f"{source}: is valid at {time}, the component is at {current.header['valid_time']}: "
            "set start_time to the former"
        )


def _check_shapes(saved: Snapshot, current: Snapshot, group: Group, source: str) -> None:
    settable = {f"{CHANGED}{name}" for name in (*group.attributes, *group.multipliers)}
    # A window of observations is checked by itself; a state without one can be gone on from, too.
    window = f"{RUNTIME}{WINDOW}"
    changed = {name: t for name, t in saved.tensors.items() if name in settable}
    shapes, expected = (
        {
            name: (t.shape, t.dtype)
            for name, t in snapshot.tensors.items()
            if name not in settable and not name.startswith(window)
        }
        for snapshot in (saved, current)
    )
    rows = (len(current.header["ids"]),)
    if shapes != expected or any(t.shape != rows or t.dtype != torch.float64 for t in changed.values()):
        raise StateError(f"{source}: its tensors do not fit this component")


def check_window(saved: Snapshot, window: ObservedWindow | None, source: str) -> None:
    """Refuse a window of observations that a component cannot go on from; one without needs none."""
    if window is not None:
        try:
            window.restored(saved.runtime, saved.state)
        except ValueError as problem:
            raise StateError(f"{source}: {problem}") from problem


def _check_attributes(saved: Snapshot, current: Snapshot, group: Group, source: str) -> None:
    digests, current_digests = saved.header.get("attributes"), current.header["attributes"]
    if digests != current_digests:
        differing = [
            name
            for name, digest in current_digests.items()
            if not isinstance(digests, dict) or digests.get(name) != digest
        ]
        raise StateError(
            f"{source}: was saved with other values of {', '.join(differing) or 'attributes'}; "
            "use the table of catchments of that run"
        )
    ids = current.header["ids"]
    table = group.about(len(ids)).by_name
    for name, values in saved.changed.items():
        variable = table[name]
        try:
            check_attribute(name, values, ids, variable.lower, variable.upper, variable.kind)
            group.setup.check_trained({name: values}, ids)
        except AttributeTableError as problem:
            raise StateError(f"{source}: {problem}") from problem


def _check_state(saved: Snapshot, current: Snapshot, group: Group, source: str) -> None:
    ids = current.header["ids"]
    table = group.about(len(ids)).by_name
    for name, tensor in saved.state.items():
        values = tensor.to(torch.float64).reshape(len(ids), -1).numpy()
        wrong = invalid_state_message(name, values, ~(np.abs(values) < MOST), table.get(name), ids)
        if wrong:
            raise StateError(f"{source}: {wrong}")


def _check_runtime(saved: Snapshot, position: int, group: Group, source: str) -> None:
    runtime = saved.runtime
    invalid = [] if (np.abs(runtime["fluxes"]) < MOST).all() else ["fluxes"]
    # A level is not known before the first model step.
    levels = np.array([[v.aggregation != "sum"] for v in group.outputs])
    published = runtime["published"]
    if not ((np.isnan(published) & levels) | (np.abs(published) < MOST)).all():
        invalid.append("published")
    waiting = runtime["series"][:position] if "series" in runtime else ()
    # NaN throughout stands for time before a run that began within a model step.
    if not all(np.isnan(values).all() or group.inputs.legal(values) for values in waiting):
        invalid.append("series")
    if invalid:
        names = ", ".join(f"{RUNTIME}{name}" for name in invalid)
        raise StateError(f"{source}: holds values that cannot be, in {names}")


def invalid_state_message(
    name: str, values: FloatArray, bad: BoolArray, variable: Variable | None, ids: Sequence[str]
) -> str:
    """Return what a user should know where a state cannot be ``values[rows, numbers]``, else nothing.

    It cannot where `bad`, nor be less than the lower limit of its variable.
    """
    lower = -inf if variable is None else variable.lower
    bad = bad | (values < lower)
    if not bad.any():
        return ""
    row, k = (int(i) for i in np.argwhere(bad)[0])
    return (
        f"{name!r} of catchment {ids[row]!r} cannot be {values[row, k]}; it needs "
        f"{values.shape[1]} finite values per catchment" + (f", {lower:g} or more" if lower > -inf else "")
    )


# -- files ------------------------------------------------------------------------


def read(path: Path) -> bytes:
    """Read a state file.

    Raises
    ------
    StateError
        If it cannot be read.
    """
    return state_codec.read(path)


def write(path: Path, template: Path | None, snapshot: Snapshot) -> None:
    """Write a state file, with its folder where the `template` of its path has placeholders."""
    if path != template:
        make_folder(path.parent)
    state_codec.write(path, encode(snapshot))


def steps_between(every: float | None, step: float) -> int:
    """Return the steps after which a state is written again; 0 for never.

    Raises
    ------
    ConfigError
        If `every` is not a whole number of steps.
    """
    if every is None:
        return 0
    steps = round(every / step)
    if steps < 1 or abs(steps * step - every) > 1e-6 * step:
        raise ConfigError(f"restart.every: {every:g} s is not a whole number of steps of {step:g} s")
    return steps


def stamp(time: datetime) -> str:
    """Return ``{time}`` in the path of a state file: to the minute, and finer where it must be."""
    return time.strftime(TIME + ("" if not time.second else "%S") if not time.microsecond else TIME + "%S.%f")


def file_path(template: Path, catchment: str | None, time: datetime | None) -> Path:
    """Return the path of a state file, the valid time and the catchment filled in.

    Raises
    ------
    ConfigError
        If there is no time or catchment, or its id would lead into another folder.
    """
    text = str(template)
    if "{id}" in text:
        if catchment is None:
            raise ConfigError("restart: {id} in a path is for members of a shared configuration")
        text = text.replace("{id}", require_file_name(catchment, "restart: {id} in a path", ConfigError))
    if "{time}" in text:
        if time is None:
            raise ConfigError("restart: {time} in a path requires start_time")
        text = text.replace("{time}", stamp(time))
    return Path(text)
