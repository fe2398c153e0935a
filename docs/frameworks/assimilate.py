"""Assimilation through the BMI, in a world whose truth is known: two components with a wrong groundwater.

One of them is told the flow of every third day, as a gauge with gaps would, and finds back to the truth.
``python docs/frameworks/assimilate.py``
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from dmg_bmi import DeltaModelBmi

FLOW = "land_surface_water__observed_runoff_depth"
GROUNDWATER = "groundwater__liquid-equivalent_depth"


def start(folder: str, groundwater: float) -> DeltaModelBmi:
    """Start a component that assimilates, with some water in its lower zone (mm)."""
    text = Path("bmi_configs/daily.yaml").read_text(encoding="utf-8")
    config = Path(folder) / "run.yaml"
    config.write_text(
        text + "assimilation: {mean_flow: 1.0, relative_error: 0.05, mean_error: 0.02}\n", encoding="utf-8"
    )
    model = DeltaModelBmi()
    model.initialize(str(config))
    model.set_value("phy.SLZ", np.full(model.get_var_nbytes("phy.SLZ") // 8, groundwater))
    return model


def step(model: DeltaModelBmi, day: int) -> float:
    """One day of weather in, runoff out (m)."""
    model.set_value("P", np.array([9.0 if day % 4 == 0 else 0.0]))  # mm d-1
    model.set_value("T", np.array([9.0]))  # degC
    model.set_value("PET", np.array([1.5]))  # mm d-1
    model.update()
    return float(model.get_value("Q", np.zeros(1))[0])


with TemporaryDirectory() as folder:
    truth, told, untold = (start(folder, groundwater) for groundwater in (42.0, 30.0, 30.0))
given = 0.0
for day in range(10):
    flow = step(truth, day)
    if day % 3 == 0:
        told.set_value(FLOW, np.array([flow]))
    step(told, day)
    step(untold, day)
    given += 1000 * told.get_value("land_surface_water__assimilation_increment_depth", np.zeros(1))[0]
stored = [1000 * float(model.get_value(GROUNDWATER, np.zeros(1))[0]) for model in (truth, told, untold)]
print("groundwater after 10 days: {:.3f} mm; told of the flow {:.3f}, not told {:.3f}".format(*stored))
print(f"water that the analyses gave: {given:.3f} mm")
