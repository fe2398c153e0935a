"""Static parameters from a given window, held in a state file that a run starts from."""

import numpy as np
import pytest
import torch
import yaml

from dmg_bmi import Bundle, DeltaModel
from dmg_bmi.cli import main
from dmg_bmi.interop.dmg import warmed_up
from dmg_bmi.io import netcdf
from dmg_bmi.io.timeseries import BasinDataset

START = "2001-10-01"


def write_window(path, weather, days, n, step=86400.0, gap=False):
    series = weather(days, n, seed=5)
    if gap:
        series["P"][3, 0] = np.nan
    times = np.datetime64("2000-10-01", "s") + np.arange(days) * np.timedelta64(round(step), "s")
    units = {"P": "mm d-1", "T": "K", "PET": "mm d-1"}
    given = {**series, "T": series["T"] + 273.15}
    netcdf.write(
        path, BasinDataset(tuple(f"cat-{k + 7}" for k in range(n)), times, step, given, {}, {}, units)
    )
    return series


def test_a_run_from_the_state_holds_what_the_network_says_at_the_end_of_the_window(
    bundles, configure, weather, attributes, bmi_run, tmp_path
):
    info, n = bundles(), 3
    series = write_window(tmp_path / "window.nc", weather, 90, n)
    config = configure(info, n, start_time=START, restart={"write": "end.state"})
    arguments = ["freeze", str(config), "--forcing", str(tmp_path / "window.nc"), "--end", "2000-12-09"]
    assert main([*arguments, "--output", str(tmp_path / "frozen.state")]) == 0
    assert not (tmp_path / "end.state").exists()

    model = Bundle.load(info.path).model
    window = {name: torch.from_numpy(values[:70]) for name, values in series.items()}
    days = weather(40, n, seed=9)
    with torch.no_grad():
        frozen = model.freeze(window, attributes(n))
        given = {name: torch.from_numpy(values) for name, values in days.items()}
        expected, _ = model(given, attributes(n), frozen)
        followed, _ = model(given, attributes(n))

    content = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**content, "restart": {"read": "frozen.state"}}))
    bmi = bmi_run.start(config)
    actual = bmi_run.drive(bmi, days, range(40), ("Q",))["Q"] * 1000.0
    bmi.finalize()
    np.testing.assert_allclose(actual, expected["Q"].numpy(), rtol=1e-5, atol=1e-6)
    assert np.abs(actual - followed["Q"].numpy()).max() > 1e-3


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("fixed", {}, "no static parameters to freeze"),
        ("lstm", {"gap": True}, "P is missing in the window"),
        ("lstm", {"step": 3600.0}, "steps by 3600 s, the model by 86400 s"),
        ("lstm", {"n": 1}, "no catchment cat-8"),
    ],
)
def test_what_cannot_be_frozen_is_said_and_nothing_is_written(
    bundles, configure, weather, tmp_path, capsys, kind, options, message
):
    options = {"days": 20, "n": 2, **options}
    write_window(tmp_path / "window.nc", weather, **options)
    config = configure(bundles(kind), 2, start_time=START)
    output = tmp_path / "frozen.state"
    arguments = ["freeze", str(config), "--forcing", str(tmp_path / "window.nc"), "--output", str(output)]
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not output.exists()


def test_dates_that_are_none_are_refused(bundles, configure, weather, tmp_path, capsys):
    write_window(tmp_path / "window.nc", weather, 20, 1)
    arguments = ["freeze", str(configure()), "--forcing", str(tmp_path / "window.nc"), "--output", "x"]
    for word in ("spring", "NaT", "now", "99999999999-01-01"):
        assert main([*arguments, "--start", word]) == 2
        assert f"--start: the date '{word}' is not understood" in capsys.readouterr().err


# -- as dmg, with warmup_states: True ---------------------------------------------------


@torch.no_grad()
def test_stores_are_those_of_a_warm_up_with_the_parameters_of_its_last_day(weather, attributes):
    """In HBV 1.0 dmg holds the dynamic ones too; beside it a model whose parameters are plain numbers."""
    torch.manual_seed(2)
    role = {"inputs": ["P", "T", "PET"], "attributes": ["slope"], "dynamic": ["BETA"], "freeze_after": 99}
    phy = {"name": "hbv", "routing": 15}
    model = DeltaModel.build(nn={"name": "lstm", "hidden_size": 8}, phy_model=phy, roles=[role]).eval()
    window = {name: torch.from_numpy(values) for name, values in weather(60, 1, seed=5).items()}
    slope = {"slope": attributes(1)["slope"]}
    state = warmed_up(model, window, slope, 40)

    warm = {name: series[:40] for name, series in window.items()}
    last = {
        name.removeprefix("phy."): float(values.reshape(-1)[-1])
        for name, values in model.learned_parameters(warm, slope).items()
    }
    plain = DeltaModel.build(phy_model=phy, fixed=last)
    start = {
        name: torch.full_like(v, 0.001) if name != "phy.queue" else v
        for name, v in plain.init_state(1).items()
    }
    _, after = plain(warm, {}, start)
    for name in after.keys() - {"phy.queue"}:
        torch.testing.assert_close(state[name], after[name], rtol=1e-5, atol=1e-5)
    assert not state["phy.queue"].any()
    frozen = model.freeze(window, slope)
    assert torch.equal(state["nn.frozen"], frozen["nn.frozen"])


def test_a_run_as_dmg_starts_on_the_day_after_the_warm_up(
    bundles, configure, weather, attributes, bmi_run, tmp_path
):
    info, n, warmup = bundles(), 2, 30
    series = write_window(tmp_path / "window.nc", weather, 90, n)
    config = configure(info, n, start_time="2000-10-31")
    arguments = ["freeze", str(config), "--forcing", str(tmp_path / "window.nc"), "--as-dmg", str(warmup)]
    assert main([*arguments, "--output", str(tmp_path / "start.state")]) == 0

    model = Bundle.load(info.path).model
    with torch.no_grad():
        window = {name: torch.from_numpy(values) for name, values in series.items()}
        state = warmed_up(model, window, attributes(n), warmup)
        late = {name: values[warmup:] for name, values in window.items()}
        expected, _ = model(late, attributes(n), state)
        only_frozen, _ = model(late, attributes(n), model.freeze(window, attributes(n)))

    content = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**content, "restart": {"read": "start.state"}}))
    bmi = bmi_run.start(config)
    days = {name: values[warmup:] for name, values in series.items()}
    actual = bmi_run.drive(bmi, days, range(60), ("Q",))["Q"] * 1000.0
    bmi.finalize()
    np.testing.assert_allclose(actual, expected["Q"].numpy(), rtol=1e-5, atol=1e-6)
    assert np.abs(actual - only_frozen["Q"].numpy()).max() > 1e-3


@pytest.mark.parametrize(
    ("kind", "start", "warmup", "message"),
    [
        ("lstm", "2000-10-01", 30, "start_time must be 2000-10-31"),
        ("lstm", None, 30, "it is missing"),
        ("lstm", "2000-10-31", 0, "does not lie within"),
        ("lstm", "2000-10-31", 10**20, "does not lie within"),
        ("lstm_mlp", "2000-10-31", 30, "freeze without --as-dmg"),
    ],
)
def test_a_start_that_dmg_does_not_make_is_refused(
    bundles, configure, weather, tmp_path, capsys, kind, start, warmup, message
):
    write_window(tmp_path / "window.nc", weather, 60, 2)
    config = configure(bundles(kind), 2, **({"start_time": start} if start else {}))
    arguments = ["freeze", str(config), "--forcing", str(tmp_path / "window.nc"), "--as-dmg", str(warmup)]
    assert main([*arguments, "--output", str(tmp_path / "start.state")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "start.state").exists()
