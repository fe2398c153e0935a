"""Members of a group, and how they are stepped."""

import random

import numpy as np

HOUR = 3600.0
START = "2000-01-01T00:00:00"
NAMES = ("Q", "ET", "SWE", "soil_moisture", "groundwater")


def close(actual, expected):
    """Design contract 3 for float64: relative 1e-10, absolute 1e-12 mm (outputs are in m)."""
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-15)


def push(bmi_run, bmi, series, row, hour):
    if series is not None:
        bmi_run.push(bmi, {name: values[:, [row]] for name, values in series.items()}, hour)


def step(bmi_run, bmi, series, row, hour, names=NAMES):
    """One hour of one component; what it gives then."""
    push(bmi_run, bmi, series, row, hour)
    bmi.update()
    return [bmi_run.read(bmi, name)[0] for name in names]


def together(bmi_run, members, series, hours, order=None):
    """Step all members hour by hour, in an order of each hour's own; ``[hour, row, name]``."""
    rng = random.Random(0)
    out = []
    for hour in hours:
        rows = list(range(len(members)))
        if order == "any":
            rng.shuffle(rows)
        elif order == "backward":
            rows.reverse()
        given = {row: step(bmi_run, members[row], series, row, hour) for row in rows}
        out.append([given[row] for row in range(len(members))])
    return np.array(out)
