"""The state of a component as bytes and as files, and a component restored from them."""

from __future__ import annotations

from datetime import datetime
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..arrays import BoolArray, FloatArray
from ..errors import AttributeTableError, ConfigError, StateError
from ..io.atomic import make_folder
from ..io.files import require_file_name, sha256
from . import state_codec
from .config import check_attribute

if TYPE_CHECKING:
    from .component import Component

RUNTIME, CHANGED = "runtime.", "runtime.changed."
#: How ``{time}`` in the path of a state file is written.
TIME = "%Y-%m-%dT%H%M"
#: No quantity of a model comes near; NaN is not less either.
MOST = 1e30


def save(component: Component) -> bytes:
    """The whole state at the component's own clock; nothing changes."""
    return state_codec.encode(_header(component), _tensors(component))


def load(component: Component, content: bytes, source: str = "state") -> None:
    """See :meth:`Component.load`."""
    header, tensors = state_codec.decode(content, source)
    own = _header(component)
    for key, meaning in (
        ("fingerprint", "another bundle"),
        ("ids", "other catchments"),
        ("time_step", "another time step"),
        ("stored_forcing", "another kind of forcing"),
    ):
        if header.get(key) != own[key]:
            raise StateError(f"{source}: was saved by {meaning} ({key} differs)")
    if header.get("valid_time") != own["valid_time"]:
        raise StateError(
            f"{source}: is valid at {header.get('valid_time')}, the component is at "
            f"{own['valid_time']}: set start_time to the former"
        )
    changed = {
        name: tensors.pop(f"{CHANGED}{name}").numpy()
        for name in component.settable
        if f"{CHANGED}{name}" in tensors
    }
    expected = {k: (t.shape, t.dtype) for k, t in _tensors(component).items() if not k.startswith(CHANGED)}
    if {name: (t.shape, t.dtype) for name, t in tensors.items()} != expected or any(
        values.shape != (component.size,) or values.dtype != np.float64 for values in changed.values()
    ):
        raise StateError(f"{source}: its tensors do not fit this component")
    there, here = header.get("attributes"), own["attributes"]
    if there != here:
        names = [n for n in here if not isinstance(there, dict) or there.get(n) != here[n]]
        raise StateError(
            f"{source}: was saved with other values of {', '.join(names) or 'attributes'}; "
            "use the table of catchments of that run"
        )
    for name, values in changed.items():
        kind = "multiplier" if name in component.group.multipliers else "attribute"
        variable = component.about.by_name[name]
        try:
            check_attribute(name, values, component.ids, variable.lower, variable.upper, kind)
            component.group.setup.check_trained({name: values}, component.ids)
        except AttributeTableError as problem:
            raise StateError(f"{source}: {problem}") from problem
    clock = component.clock
    try:
        position, shares = int(header["position"]), int(header["shares"])
        due, begun = bool(header["due"]), bool(header["begun"])
    except (KeyError, TypeError, ValueError, OverflowError) as problem:
        raise StateError(f"{source}: its header is not valid: {problem}") from problem
    if not 0 <= position < clock.ratio or not 1 <= shares <= clock.ratio:
        raise StateError(f"{source}: its header is not valid: position {position}, shares {shares}")
    if component.config.start_time is not None and position != clock.position:
        raise StateError(f"{source}: was saved with another day_start_hour")
    state = {name: tensor for name, tensor in tensors.items() if not name.startswith(RUNTIME)}
    for name, tensor in state.items():
        values = tensor.to(torch.float64).reshape(component.size, -1).numpy()
        wrong = invalid_state_message(component, name, values, ~(np.abs(values) < MOST))
        if wrong:
            raise StateError(f"{source}: {wrong}")
    fluxes = f"{RUNTIME}fluxes"
    spoilt = [] if (tensors[fluxes].abs() < MOST).all() else [fluxes]
    published = tensors[f"{RUNTIME}published"].numpy()
    # A level is not known before the first model step.
    unknown = np.isnan(published) & np.array([v.aggregation != "sum" for v in component.group.outputs])
    if not (unknown | (np.abs(published) < MOST)).all():
        spoilt.append(f"{RUNTIME}published")
    if f"{RUNTIME}series" in tensors:
        waiting = np.moveaxis(tensors[f"{RUNTIME}series"].numpy(), 0, -1)[:position]
        # before a run that began within a model step there was nothing
        if not all(np.isnan(now).all() or component.group.inputs.legal(now) for now in waiting):
            spoilt.append(f"{RUNTIME}series")
    if spoilt:
        raise StateError(f"{source}: holds values that cannot be, in {', '.join(spoilt)}")
    component.group.set_state(component, state)
    clock.phase = (position - clock.count) % clock.ratio
    clock.begun = begun
    component.fluxes = np.moveaxis(tensors[fluxes].numpy(), 0, -1)
    for name, array in (
        ("published", component.published),
        ("last", component.last),
        ("series", component.series),
    ):
        if f"{RUNTIME}{name}" in tensors:
            array[...] = np.moveaxis(tensors[f"{RUNTIME}{name}"].numpy(), 0, -1)
    component.restored(shares, due, changed)


def invalid_state_message(component: Component, name: str, values: FloatArray, bad: BoolArray) -> str:
    """What a user should know where a state cannot be ``values[rows, numbers]``, else nothing.

    It cannot where `bad`, nor be less than its lower limit.
    """
    variable = component.about.by_name.get(name)
    lower = -inf if variable is None else variable.lower
    bad = bad | (values < lower)
    if not bad.any():
        return ""
    row, k = (int(i) for i in np.argwhere(bad)[0])
    return (
        f"{name!r} of catchment {component.ids[row]!r} cannot be {values[row, k]}; it needs "
        f"{values.shape[1]} finite values per catchment" + (f", {lower:g} or more" if lower > -inf else "")
    )


def _header(component: Component) -> dict[str, Any]:
    time = component.valid_time
    return {
        "fingerprint": component.info.fingerprint,
        "ids": list(component.ids),
        "attributes": {
            name: sha256(component.group.default(name, component.rows).tobytes())[:16]
            for name in component.group.attributes
        },
        "time_step": component.clock.step,
        "stored_forcing": component.group.store is not None,
        "position": component.clock.position,
        "shares": component.shares,
        "due": component.due,
        "begun": component.clock.begun,
        "valid_time": None if time is None else time.isoformat(),
    }


def _tensors(component: Component) -> dict[str, torch.Tensor]:
    state = component.group.state(component)
    # A step that ran ahead for this row has left its fluxes already; its own are all published.
    fluxes = np.zeros_like(component.fluxes) if component in component.group.ahead else component.fluxes
    runtime = {"fluxes": fluxes, "published": component.published, "last": component.last}
    if component.group.store is None and component.clock.ratio > 1:
        series = component.series.copy()
        series[component.clock.position :] = np.nan
        runtime["series"] = series
    rows_first = {f"{RUNTIME}{name}": np.moveaxis(array, -1, 0) for name, array in runtime.items()}
    rows_first |= {f"{CHANGED}{name}": component.settable[name] for name in component.changed}
    return {
        **state,
        **{name: torch.from_numpy(np.array(array, order="C")) for name, array in rows_first.items()},
    }


# -- files ------------------------------------------------------------------------


def read(component: Component, path: Path) -> None:
    """Restore from the file that a path means now."""
    file = meant(component, path)
    load(component, state_codec.read(file), str(file))


def write(component: Component, path: Path | None) -> None:
    """Write the file that a path means now."""
    assert path is not None  # noqa: S101  `every` needs it
    file = meant(component, path)
    if file != path:
        make_folder(file.parent)
    state_codec.write(file, save(component))


def steps_between(every: float | None, step: float) -> int:
    """Steps after which a state is written again; 0 for never."""
    if every is None:
        return 0
    steps = round(every / step)
    if steps < 1 or abs(steps * step - every) > 1e-6 * step:
        raise ConfigError(f"restart.every: {every:g} s is no whole number of steps of {step:g} s")
    return steps


def stamp(time: datetime) -> str:
    """How ``{time}`` in the path of a state file is written: to the minute, and further where it must be."""
    return time.strftime(TIME + ("" if not time.second else "%S") if not time.microsecond else TIME + "%S.%f")


def meant(component: Component, path: Path) -> Path:
    """A path with the valid time and the catchment filled in.

    Raises
    ------
    ConfigError
        If there is no time or catchment, or its id would lead into another folder.
    """
    text = str(path)
    if "{id}" in text:
        if component.config.catchment is None:
            raise ConfigError("restart: {id} in a path is for members of a shared configuration")
        name = require_file_name(component.config.catchment, "restart: {id} in a path", ConfigError)
        text = text.replace("{id}", name)
    if "{time}" in text:
        if component.valid_time is None:
            raise ConfigError("restart: {time} in a path needs start_time")
        text = text.replace("{time}", stamp(component.valid_time))
    return Path(text)
