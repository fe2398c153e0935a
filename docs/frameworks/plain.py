"""Plain Python: two components side by side, stopped and resumed half way.

``python docs/frameworks/plain.py``
"""

import numpy as np

from dmg_bmi import DeltaModelBmi

RAIN = "atmosphere_water__liquid_equivalent_precipitation_rate"
TEMPERATURE = "land_surface_air__temperature"
DEMAND = "land_surface_water__potential_evaporation_volume_flux"
RUNOFF = "land_surface_water__runoff_depth"


def step(model: DeltaModelBmi, day: int) -> float:
    """One day of weather in, runoff out (m)."""
    model.set_value(RAIN, np.array([12.0 if day % 3 == 0 else 0.0]))  # mm d-1
    model.set_value(TEMPERATURE, np.array([9.0]))  # degC
    model.set_value(DEMAND, np.array([1.5]))  # mm d-1
    model.update()
    return float(model.get_value(RUNOFF, np.zeros(1))[0])


first, second = DeltaModelBmi(), DeltaModelBmi()
for model in (first, second):
    model.initialize("bmi_configs/daily.yaml")
for day in range(30):
    step(first, day)
    step(second, day)

# A state is a variable like any other: save it, go on, and come back to it.
first.set_value("ngen::serialization_create", np.array([1]))
state = first.get_value_ptr("ngen::serialization_state").copy()
ahead = [step(first, day) for day in range(30, 40)]
second.set_value("ngen::serialization_state", state)
same = [step(second, day) for day in range(30, 40)] == ahead
print(f"resumed {'as if nothing had been' if same else 'differently'}; the state has {state.size} bytes")
print(f"runoff of the last day {ahead[-1] * 1000:.3f} mm")
first.finalize()
second.finalize()
