"""The realization that tells `ngen` what to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

#: For the adapter class: module, and attribute of it.
PYTHON_TYPE = "dmg_bmi.DeltaModelBmi"
#: Absolute, in mm: far above what rounding leaves in totals of many years.
MASS_TOLERANCE = 1e-6
INTERVAL = 3600
OUTPUTS = "./outputs/ngen"
#: From this many catchments on they share one output file.
MANY = 1000


def stamp(time: np.datetime64) -> str:
    """Write a time as `ngen` reads it: after a ``T`` it would drop the time of day."""
    return str(time.astype("datetime64[s]")).replace("T", " ")


def module(
    init_config: str,
    main: str,
    outputs: Sequence[str],
    model_params: Mapping[str, Any] | None = None,
    mass_balance: bool = True,
) -> dict[str, Any]:
    """Return a module that runs this package.

    Parameters
    ----------
    init_config : str
        Path as seen from where `ngen` runs, with ``{{id}}`` for the catchment.
    main : str
        The output that becomes flow, a depth in m.
    outputs : sequence of str
        Columns of the catchments' files.
    model_params : mapping, optional
        Attributes, states and multipliers.
    mass_balance : bool
        Whether `ngen` is to check that no water is lost, each day.
    """
    params: dict[str, Any] = {
        "name": "bmi_python",
        "python_type": PYTHON_TYPE,
        "model_type_name": "dmg_bmi",
        "init_config": init_config,
        "allow_exceed_end_time": True,
        "main_output_variable": main,
        "cache_input_variable_metadata": True,
        "output_variables": [*outputs],
    }
    if model_params:
        params["model_params"] = dict(model_params)
    if mass_balance:
        params["mass_balance"] = {
            "check": True,
            "tolerance": MASS_TOLERANCE,
            "fatal": True,
            "frequency": 24,
        }
    return {"name": "bmi_python", "params": params}


def multi(modules: Sequence[Mapping[str, Any]], main: str, outputs: Sequence[str]) -> dict[str, Any]:
    """Return a bmi_multi of the modules of one catchment, run in their order."""
    inner = []
    for one in modules:
        params = {k: v for k, v in one["params"].items() if k != "output_variables"}
        inner.append({"name": one["name"], "params": params})
    return {
        "name": "bmi_multi",
        "params": {
            "name": "bmi_multi",
            "model_type_name": "dmg_bmi_multi",
            "init_config": "",
            "allow_exceed_end_time": True,
            "main_output_variable": main,
            "output_variables": [*outputs],
            "modules": inner,
        },
    }


def realization(
    formulation: Mapping[str, Any],
    forcing: Mapping[str, Any],
    start: np.datetime64,
    end: np.datetime64,
    catchments: int,
    routing: str | None = None,
) -> dict[str, Any]:
    """Return the whole document.

    Parameters
    ----------
    formulation : mapping
        From :func:`module` or :func:`multi`.
    forcing : mapping
        ``path`` and ``provider``.
    start, end : datetime64
        The run covers ``[start, end)``. `ngen` includes its end, so that is an hour earlier.
    catchments : int
    routing : str, optional
        Path of the configuration of t-route.
    """
    document: dict[str, Any] = {
        "global": {"formulations": [dict(formulation)], "forcing": dict(forcing)},
        "time": {
            "start_time": stamp(start),
            "end_time": stamp(end - np.timedelta64(INTERVAL, "s")),
            "output_interval": INTERVAL,
        },
        # An output block makes a newer ngen ignore output_root, which an older one needs.
        "output_root": OUTPUTS,
        "output": {"root": OUTPUTS, "precision": 12},
    }
    if catchments >= MANY:
        document["output"]["catchment"] = {"grouping": "per_formulation"}
    if routing is not None:
        document["routing"] = {"t_route_config_file_with_path": routing}
    return document
