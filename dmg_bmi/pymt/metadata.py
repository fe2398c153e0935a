"""Metadata folder of a pymt component, generated from the variable table of its bundle."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import yaml

from .. import __version__
from ..io.atomic import make_folder, write_atomic
from ..model.bundle import BundleInfo
from ..model.variables import Variable
from . import INPUTS, PymtComponent

CONFIG = "config.yaml"
AREA = "area_km2"


def files(cls: type[PymtComponent]) -> dict[str, str]:
    """Return the content of each file of the folder, by its name."""
    info, name = cls.bundle, cls.__name__
    summary = {"summary": info.summary or f"Trained differentiable model {info.name}"}
    about = {"version": __version__, "license": "Apache-2.0", "author": "dmg_bmi maintainers"}
    ours = cls.__module__ == PymtComponent.__module__
    return {
        "api.yaml": _yaml({"name": name, "class": name, "language": "python"}),
        "info.yaml": _yaml(summary | about if ours else summary),
        "parameters.yaml": _yaml(parameters(info)),
        "run.yaml": _yaml({"config_file": CONFIG}),
        CONFIG: _config(info),
        INPUTS: "".join(f"{v.symbol}: {{{{ {_input(v)} }}}}\n" for v in _variables(info, "input")) or "{}\n",
    }


def write(cls: type[PymtComponent], folder: Path) -> None:
    """Write the folder."""
    make_folder(folder)
    for name, text in files(cls).items():
        write_atomic(folder / name, text.encode("utf-8"))


def parameters(info: BundleInfo) -> dict[str, Any]:
    """Return what ``model.setup()`` takes: attributes, area, start, and inputs until they are set."""
    step = float(info.description["step"])
    result = {
        AREA: _number("area of the catchment, for flow in m3 s-1", 100.0, "km2", 0.0),
        "start_time": {
            "description": "date and time of the start (UTC)",
            "value": {"type": "str", "default": "2000-10-01"},
        },
        "time_step": _number("time of one update; the model's step is a multiple", step, "s", 1.0, step),
    }
    for variable in _variables(info, "attribute"):
        result[_key(variable.name)] = _describe(variable, info, variable.meaning, 1.0, 0.0)
    for variable in _variables(info, "input"):
        scale, offset = variable.to_model(step)
        meaning = f"{variable.meaning}, until {variable.name} is set"
        result[_input(variable)] = _describe(variable, info, meaning, scale, offset)
    return result


def _describe(v: Variable, info: BundleInfo, meaning: str, scale: float, offset: float) -> dict[str, Any]:
    """Describe a variable; its default is the mean of the training data, or the legal value next to zero."""
    statistic: Mapping[str, Any] = info.description.get("statistics", {}).get(v.symbol, {})
    default = statistic.get("mean", 0.0) if statistic.get("transform", "none") == "none" else 0.0
    default = min(max(float(default), v.lower), v.upper)
    lower, upper = ((limit - offset) / scale for limit in (v.lower, v.upper))
    return _number(meaning, float(f"{(default - offset) / scale:.6g}"), v.units, lower, upper)


def _number(
    meaning: str, default: float, units: str, lower: float = float("-inf"), upper: float = float("inf")
) -> dict[str, Any]:
    value: dict[str, Any] = {"type": "float", "default": default, "units": units}
    # model_metadata requires both ends or none.
    if isfinite(lower) or isfinite(upper):
        value["range"] = {"min": max(lower, -1e30), "max": min(upper, 1e30)}
    return {"description": meaning, "value": value}


def _config(info: BundleInfo) -> str:
    """Return the configuration as a template; the bundle is that of the class."""
    attributes = ", ".join(f"{v.name}: {{{{ {_key(v.name)} }}}}" for v in _variables(info, "attribute"))
    return (
        "catchments:\n"
        "  ids: [catchment-1]\n"
        f"  area: {{{{ {AREA} }}}}  # km2\n"
        f"  attributes: {{ {attributes} }}\n"
        "time_step: {{ time_step }}\n"
        "start_time: {{ start_time }}\n"
    )


def _variables(info: BundleInfo, kind: str) -> list[Variable]:
    return [v for v in info.variables if v.kind == kind]


def _key(name: str) -> str:
    """Return a name that templates can hold."""
    return re.sub(r"\W", "_", name)


def _input(variable: Variable) -> str:
    return f"initial_{_key(variable.symbol)}"


def _yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=100)
