"""A component that has forcing."""

import numpy as np

RUNOFF = "land_surface_water__runoff_depth"


def fed(bmi_run, config):
    bmi = bmi_run.start(config)
    for name, value in (("P", 4.0), ("T", 5.0), ("PET", 1.0)):
        bmi.set_value(name, np.full(bmi.get_grid_size(0), value))
    return bmi
