"""Water is never lost through the BMI: in = out + change of every storage, at every step."""

import numpy as np
import pytest

from dmg_bmi.model.delta_model import DAY
from dmg_bmi.runtime import state_codec

HOUR = 3600.0
COLUMNS = ("SNOWPACK", "MELTWATER", "SM", "SUZ", "SLZ")


def stored(bmi_run, bmi):
    """Water in the model's stores, mm per catchment: components averaged, the queue summed."""
    n = bmi.get_grid_size(0)
    total = bmi_run.read(bmi, "phy.queue").reshape(n, -1).sum(1)
    for name in COLUMNS:
        total += bmi_run.read(bmi, f"phy.{name}").reshape(n, -1).mean(1)
    return total


def in_transit(bmi, outputs):
    """Water between framework and model, mm: set but not yet used, and run off but not yet handed out.

    As a saved state holds it, which is all that a restart has.
    """
    header, tensors = state_codec.decode(bmi.component.save())
    ratio = round(DAY / bmi.get_time_step()) if bmi.get_component_name() != "hourly" else 1
    fluxes = tensors["runtime.fluxes"].numpy()
    flows = sum(fluxes[:, k] for k, name in enumerate(outputs) if name in ("Q", "ET"))
    if ratio == 1:
        return 0.0 * flows
    p = header["position"]
    if header["stored_forcing"]:
        return flows * (ratio - p) / header["shares"] if p else 0.0 * flows
    rain = tensors["runtime.series"].numpy()[:, :p, 0]  # [catchment, step] of the first input, mm d-1
    waiting = np.nansum(rain, 1) * bmi.get_time_step() / DAY
    return waiting + (flows * (ratio - p) / ratio if p or header["due"] else 0.0)


class Ledger:
    """Compares what went in with what came out and what is stored."""

    def __init__(self, bmi_run, bmi):
        self.run, self.bmi = bmi_run, bmi
        table = bmi.component.info.variables
        self.outputs = [v.symbol for v in table if v.kind == "output"]
        self.initial = stored(bmi_run, bmi)
        self.given = np.zeros_like(self.initial)
        self.taken = np.zeros_like(self.initial)

    def update(self, rain):
        self.bmi.update()
        self.given += rain
        self.taken += 1e3 * (self.run.read(self.bmi, "Q") + self.run.read(self.bmi, "ET"))

    def residual(self):
        """As a share of what is allowed."""
        now = stored(self.run, self.bmi) + in_transit(self.bmi, self.outputs)
        allowed = 1e-9 * (self.given + self.initial + 1.0)
        return np.abs(self.given - self.taken - (now - self.initial)) / allowed


@pytest.mark.parametrize(
    ("kind", "n", "days"), [("lstm", 2, 1826), ("lstm", 1, 200), ("lstm_mlp", 3, 200), ("fixed", 3, 200)]
)
def test_water_closes_at_every_daily_step(configure, bundles, weather, bmi_run, kind, n, days):
    forcing = weather(days, n, seed=11)
    bmi = bmi_run.start(configure(bundles(kind), n))
    ledger = Ledger(bmi_run, bmi)
    for k in range(days):
        bmi_run.push(bmi, forcing, k)
        ledger.update(forcing["P"][k])
        if k % 11 == 0:
            assert ledger.residual().max() <= 1.0, f"step {k}"
    assert ledger.residual().max() <= 1.0
    assert ledger.taken.min() > 0.2 * days


@pytest.mark.parametrize("date", ["2000-01-01 00:00", "2000-01-01 12:00", "2000-01-01 23:00"])
def test_water_closes_at_every_hour_of_a_daily_model_on_pushed_forcing(
    configure, bundles, weather, bmi_run, date
):
    forcing = weather(200, 2, seed=12, step=HOUR)
    bmi = bmi_run.start(configure(bundles("lstm"), 2, time_step=HOUR, start_time=date))
    ledger = Ledger(bmi_run, bmi)
    for k in range(200):
        bmi_run.push(bmi, forcing, k)
        ledger.update(forcing["P"][k])
        assert ledger.residual().max() <= 1.0, f"hour {k}"
    assert ledger.taken.min() > 1.0


@pytest.mark.parametrize(("date", "hours"), [("2000-01-01 00:00", 0), ("2000-01-01 12:00", 12)])
def test_water_closes_at_every_hour_of_a_daily_model_on_stored_forcing(
    configure, bundles, weather, store, bmi_run, date, hours
):
    """A day's water is taken from the store when the day begins."""
    forcing = weather(240, 2, seed=13, step=HOUR)
    folder = store(forcing, 2, "2000-01-01", HOUR)
    bmi = bmi_run.start(configure(bundles("lstm"), 2, time_step=HOUR, start_time=date, forcing=str(folder)))
    ledger = Ledger(bmi_run, bmi)
    for k in range(hours, 240):
        begins = k == hours or k % 24 == 0
        day_end = 24 * (k // 24 + 1)
        ledger.update(forcing["P"][k:day_end].sum(0) if begins else 0.0)
        assert ledger.residual().max() <= 1.0, f"hour {k}"
    assert ledger.taken.min() > 1.0


def test_water_closes_over_a_restart_within_a_day(configure, bundles, weather, bmi_run):
    forcing = weather(100, 2, seed=14, step=HOUR)
    first = bmi_run.start(configure(n=2, time_step=HOUR, restart={"write": "state.bin"}))
    ledger = Ledger(bmi_run, first)
    for k in range(61):
        bmi_run.push(first, forcing, k)
        ledger.update(forcing["P"][k])
    first.finalize()
    ledger.bmi = bmi_run.start(configure(n=2, time_step=HOUR, restart={"read": "state.bin"}))
    assert ledger.residual().max() <= 1.0
    for k in range(61, 100):
        bmi_run.push(ledger.bmi, forcing, k)
        ledger.update(forcing["P"][k])
        assert ledger.residual().max() <= 1.0, f"hour {k}"


def test_what_is_set_into_a_store_is_in_the_balance(configure, weather, bmi_run):
    bmi = bmi_run.start(configure(n=2))
    bmi.set_value("phy.SM", np.full(4, 80.0))
    forcing = weather(50, 2)
    ledger = Ledger(bmi_run, bmi)
    np.testing.assert_array_equal(ledger.initial, 80.0)
    for k in range(50):
        bmi_run.push(bmi, forcing, k)
        ledger.update(forcing["P"][k])
    assert ledger.residual().max() <= 1.0


@pytest.mark.parametrize("store_name", [*COLUMNS, "queue"])
def test_a_leak_of_a_micrometre_does_not_close(configure, weather, bmi_run, store_name):
    bmi = bmi_run.start(configure(n=2))
    forcing = weather(60, 2)
    ledger = Ledger(bmi_run, bmi)
    for k in range(60):
        bmi_run.push(bmi, forcing, k)
        ledger.update(forcing["P"][k])
        if k == 30:
            values = bmi_run.read(bmi, f"phy.{store_name}")
            bmi.set_value(f"phy.{store_name}", values + 1e-3)
    assert ledger.residual().min() > 1.0
