"""One step of a bundle's model as ONNX, its states as inputs and outputs, for hosts without Python."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..io.atomic import create, replacing_folder
from ..model.bundle import BundleInfo
from ..model.delta_model import DeltaModel
from ..model.flat_step import FlatStep, Signature, example_of_step
from ..model.spin_up import SpinUpModel

STEP, CONSTANTS, INDEX, README = "step.onnx", "constants.onnx", "model.json", "README.md"
#: The version of the operators: that of onnxruntime 1.14 (2023) and newer.
OPSET = 18
#: Rows of the example that is traced; any number runs.
ROWS = 3
PAGE = """\
# {name}, one step as ONNX

{summary}

A step is {step:g} seconds. Any number of catchments (rows) runs at once.

1. `{CONSTANTS}`, once: attributes `[rows]` to constants. Where the model has no attributes there is no
   such file, and `model.json` holds the constants of a row.
2. The state begins as `initial` of `model.json` says, for each row.
3. `{STEP}`, step by step: forcing `[1, rows]`, the state and the constants to fluxes `[1, rows]` and
   the state after the step: feed `next.NAME` back as `state.NAME`.

`model.json` lists all names with units and meanings. In Python:

    import json
    import numpy as np
    import onnxruntime

    about = json.load(open("model.json"))
    rows = 2

    def load(path):
        session = onnxruntime.InferenceSession(path)
        outputs = [o.name for o in session.get_outputs()]
        inputs = [i.name for i in session.get_inputs()]
        return lambda given: dict(zip(outputs, session.run(None, {{i: given[i] for i in inputs}})))

    def repeated(row):
        return np.repeat(np.array(row["value"], row["type"])[None], rows, 0)

    attributes = {{f"attribute.{{name}}": np.full(rows, VALUE_OF[name]) for name in about["attributes"]}}
    constants = load("{CONSTANTS}")(attributes)
    state = {{name: repeated(row) for name, row in about["initial"].items()}}
    step = load("{STEP}")
    for forcing in DAYS:  # "forcing.P" and so on: float64 [1, rows]
        result = step({{**forcing, **state, **constants}})
        state |= {{f"state.{{n[5:]}}": v for n, v in result.items() if n.startswith("next.")}}
        print(result["flux.{flux}"])
"""


class _Constants(nn.Module):
    """What attributes determine, as a function of a flat list of them."""

    def __init__(self, model: DeltaModel, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, tuple(names)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        attributes = dict(zip(self.model.attribute_names, tensors, strict=True))
        constants = self.model.precompute(attributes, tensors[0].shape[0])
        return tuple(constants[name].clone() for name in self.names)


def export_onnx(info: BundleInfo, folder: Path) -> None:
    """Write a step and its constants as ONNX, their names and initial state, and a page on their use.

    Parameters
    ----------
    info : BundleInfo
    folder : path
        New or empty.

    Raises
    ------
    ConfigError
        If the exporter is not installed, or the model has no step of its own: one that spins itself up, runs
        over a window, or has rows that act on each other.
    OSError
        If the folder holds other files or cannot be written.
    """
    if find_spec("onnxscript") is None:
        raise ConfigError("an export to ONNX needs onnxscript: pip install 'dmg_bmi[onnx]'")
    model = info.load_model().eval()
    if reason := _obstacle(model):
        raise ConfigError(f"{info.name}: cannot be exported as one step: {reason}")
    arguments, names = example_of_step(model, "cpu", ROWS, {})
    fixed = dict(zip(names.constants, arguments[len(names.forcing) + len(names.state) :], strict=True))
    with replacing_folder(folder, ()) as workspace:
        inputs = [f"forcing.{n}" for n in names.forcing]
        inputs += [f"state.{n}" for n in names.state] + [f"constant.{n}" for n in names.constants]
        outputs = [f"flux.{n}" for n in names.fluxes] + [f"next.{n}" for n in names.renewed]
        axes = [1] * len(names.forcing) + [0] * (len(arguments) - len(names.forcing))
        _export(FlatStep(model, names), arguments, axes, inputs, outputs, workspace / STEP)
        if model.attribute_names:
            example = tuple(torch.ones(ROWS, dtype=torch.float64) for _ in model.attribute_names)
            _export(
                _Constants(model, names.constants),
                example,
                [0] * len(example),
                [f"attribute.{n}" for n in model.attribute_names],
                [f"constant.{n}" for n in names.constants],
                workspace / CONSTANTS,
            )
        about = _describe(info, model, names, {} if model.attribute_names else fixed)
        create(workspace / INDEX, json.dumps(about, indent=1).encode())
        flux = names.fluxes[0]
        page = PAGE.format(
            name=info.name, summary=info.summary, step=model.step, flux=flux, STEP=STEP, CONSTANTS=CONSTANTS
        )
        create(workspace / README, page.encode())


def _obstacle(model: DeltaModel) -> str:
    if isinstance(model, SpinUpModel):
        return "it spins itself up, in steps that differ"
    if any(network.has_window for network in model.networks.values()):
        return "a network runs over a window at each step"
    if any(one.declaration.graph for one in model.process_models.values()):
        return "its rows act on each other along a graph"
    return ""


def _export(
    function: nn.Module,
    arguments: tuple[Tensor, ...],
    axes: Sequence[int],
    inputs: Sequence[str],
    outputs: Sequence[str],
    path: Path,
) -> None:
    rows = torch.export.Dim("rows", min=1)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(
                function, arguments, dynamic_shapes={"tensors": tuple({a: rows} for a in axes)}, strict=False
            )
            exported: Any = torch.onnx.export(
                program,
                input_names=list(inputs),
                output_names=list(outputs),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
            exported.save(str(path), external_data=False)
        except RuntimeError as problem:
            reason = (str(problem).strip() or type(problem).__name__).splitlines()[0]
            raise ConfigError(f"{path.name}: the exporter of PyTorch gave up: {reason}") from problem


def _describe(
    info: BundleInfo, model: DeltaModel, names: Signature, fixed: dict[str, Tensor]
) -> dict[str, Any]:
    def quantities(some: Any) -> dict[str, Any]:
        return {q.name: {"units": q.units, "meaning": q.meaning, "aggregation": q.aggregation} for q in some}

    def row(value: Tensor) -> dict[str, Any]:
        return {"value": value[0].tolist(), "type": str(value.dtype).removeprefix("torch.")}

    state = model.init_state(1)
    return {
        "name": info.name,
        "fingerprint": info.fingerprint,
        "step_seconds": model.step,
        "forcing": quantities(model.declaration.forcings),
        "attributes": quantities(model.declaration.attributes),
        "fluxes": quantities(f for f in model.declaration.fluxes if f.name in names.fluxes),
        "initial": {f"state.{name}": row(state[name]) for name in names.state},
        "constants": {f"constant.{name}": row(value) for name, value in fixed.items()},
    }
