"""NOAA's LSTM as a drop-in: its own configuration files, names, units and numbers."""

import csv
import shutil

import numpy as np
import pytest
import torch
import yaml
from nh_runs import H, parts, write

from dmg_bmi import NoaaLstmBmi
from dmg_bmi.cli import main
from dmg_bmi.conformance import Conformance
from dmg_bmi.errors import ConfigError, DmgBmiError, ForcingError, ImportModelError, ValueShapeError
from dmg_bmi.model.bundle import BundleInfo

RAIN = "atmosphere_water__liquid_equivalent_precipitation_rate"
WARMTH = "land_surface_air__temperature"
ROUNDING = np.finfo(np.float32).eps
DEPTH, FLOW = "land_surface_water__runoff_depth", "land_surface_water__runoff_volume_flux"
CATCHMENT = {
    "area_sqkm": 7.5,
    "basin_id": "cat-1",
    "basin_name": "a brook",
    "elev_mean": 250.0,
    "slope_mean": 35.0,
    "initial_state": "zero",
    "lat": 43.0,
    "lon": -71.0,
    "time_step": "1 hour",
    "verbose": 0,
}


@pytest.fixture
def noaa(shared_data):
    folder = shared_data / "noaa_lstm"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return folder


def run_of(folder, seed=0, centre=10.0, bias=0.0, inputs=("APCP_surface", "TMP_2maboveground"), **keys):
    """Write the run of a tiny hourly model of some of AORC's fields."""
    target = "QObs(mm/h)"
    config, _, scaler = parts(
        dataset="hourly_camels_us",
        dynamic_inputs=[*inputs],
        static_attributes=["elev_mean", "slope_mean"],
        target_variables=[target],
        **keys,
    )
    values = {"APCP_surface": 0.1, "TMP_2maboveground": 273.0 + centre, "PRES_surface": 9e4, target: 0.2}
    arrays = {n: {"dims": [], "attrs": {}, "data": v} for n, v in values.items()}
    widths = {
        n: {"dims": [], "attrs": {}, "data": w} for n, w in zip(values, (0.8, 9.0, 4e3, 0.4), strict=True)
    }
    scaler["xarray_feature_center"]["data_vars"] = arrays
    scaler["xarray_feature_scale"]["data_vars"] = widths
    scaler["attribute_means"] = {"elev_mean": 500.0 + centre, "slope_mean": 40.0}
    scaler["attribute_stds"] = {"elev_mean": 300.0, "slope_mean": 30.0}
    g = torch.Generator().manual_seed(seed)
    shapes = {
        "lstm.weight_ih_l0": (4 * H, len(inputs) + 2),
        "lstm.weight_hh_l0": (4 * H, H),
        "lstm.bias_ih_l0": (4 * H,),
        "lstm.bias_hh_l0": (4 * H,),
        "head.net.0.weight": (1, H),
        "head.net.0.bias": (1,),
    }
    weights = {name: 0.6 * torch.randn(shape, generator=g) for name, shape in shapes.items()}
    weights["head.net.0.bias"] += bias
    return write(folder, config, weights, scaler)


def configure(path, runs, **keys):
    """Write a catchment's configuration as NOAA's component reads it."""
    path.write_text(yaml.safe_dump({**CATCHMENT, "train_cfg_file": runs, **keys}), encoding="utf-8")
    return str(path)


def start(path):
    bmi = NoaaLstmBmi()
    bmi.initialize(str(path))
    return bmi


def step(bmi, rain, warmth):
    bmi.set_value(RAIN, np.array([rain]))
    bmi.set_value(WARMTH, np.array([warmth]))
    bmi.update()
    return bmi.get_value(DEPTH, np.zeros(1))[0], bmi.get_value(FLOW, np.zeros(1))[0]


def weather(hours=30, seed=0):
    rng = np.random.default_rng(seed)
    return np.maximum(rng.normal(0, 1, hours), 0.0), rng.normal(283, 6, hours)


@pytest.fixture
def catchments(tmp_path):
    """Two runs, and two catchments that name the first, relative to their folder."""
    run_of(tmp_path / "a")
    run_of(
        tmp_path / "b",
        seed=3,
        centre=4.0,
        bias=-0.7,
        inputs=("TMP_2maboveground", "PRES_surface", "APCP_surface"),
    )
    for k in (1, 2):
        configure(tmp_path / f"cat-{k}.yml", "a/config.yml", elev_mean=200.0 * k, area_sqkm=5.0 * k)
    return tmp_path


# -- what NOAA's component gives ------------------------------------------------------------


def test_the_reference_hours_of_noaas_component_come_out_in_depth_and_flow(noaa):
    for name in ("cat-11223", "cat-11509"):
        with (noaa / f"{name}_noaa_lstm.csv").open() as file:
            rows = [*csv.DictReader(file)]
        bmi = start(noaa / f"{name}.yml")
        actual = [step(bmi, float(r["precipitation_mm_h-1"]), float(r["temperature_K"])) for r in rows]
        expected = [[float(r["runoff_depth_m"]), float(r["streamflow_m3_s-1"])] for r in rows]
        assert len(actual) == 720
        # The reference is float32, itself 1.02e-6 from exact arithmetic: a rounding of the largest flow.
        for found, reference in zip(np.transpose(actual), np.transpose(expected), strict=True):
            np.testing.assert_allclose(found, reference, rtol=1e-6, atol=ROUNDING * reference.max())
        bmi.finalize()


def test_names_units_and_times_are_those_of_noaas_component(catchments):
    bmi = start(catchments / "cat-1.yml")
    assert {*bmi.get_input_var_names()} == {RAIN, WARMTH}
    assert {*bmi.get_output_var_names()} == {DEPTH, FLOW}
    units = {RAIN: "mm h-1", WARMTH: "degK", DEPTH: "m", FLOW: "m3 s-1"}
    assert {name: bmi.get_var_units(name) for name in units} == units
    assert all(bmi.get_var_type(name) == "float64" for name in units)
    assert (bmi.get_time_step(), bmi.get_time_units(), bmi.get_start_time()) == (3600.0, "s", 0.0)
    assert bmi.get_component_name() == "LSTM"
    step(bmi, 0.0, 280.0)
    assert bmi.get_current_time() == 3600.0


def test_an_input_that_the_model_does_not_use_may_be_set_and_changes_nothing(catchments):
    one, other = start(catchments / "cat-1.yml"), start(catchments / "cat-2.yml")
    unused = {"land_surface_air__pressure": "Pa", "land_surface_wind__x_component_of_velocity": "m s-1"}
    for name, units in unused.items():
        assert name not in one.get_input_var_names()
        assert one.get_var_units(name) == units
        assert one.get_var_nbytes(name) == 8
        one.set_value(name, np.array([3.0]))
        assert one.get_value_ptr(name).tolist() == [3.0]
        with pytest.raises(ValueShapeError):
            one.set_value(name, np.zeros(2))
    assert one.component.group is other.component.group
    del other
    with_it = step(one, 0.4, 285.0)
    one.finalize()
    assert step(start(catchments / "cat-1.yml"), 0.4, 285.0) == with_it


def by_hand(folder, rain, warmth, elevation=250.0, pressure=None):
    """Depth in metres, hour by hour, with the arithmetic that NOAA's component describes."""
    weights = torch.load(folder / "model_epoch003.pt", weights_only=True)
    config = yaml.safe_load((folder / "config.yml").read_text())
    scaler = yaml.safe_load((folder / "train_data" / "train_data_scaler.yml").read_text())
    centre, scale = (
        {n: v["data"] for n, v in scaler[f"xarray_feature_{k}"]["data_vars"].items()}
        for k in ("center", "scale")
    )
    fields = {"APCP_surface": rain, "TMP_2maboveground": warmth, "PRES_surface": pressure}
    x = [(fields[n] - centre[n]) / scale[n] for n in config["dynamic_inputs"]]
    for name, value in (("elev_mean", elevation), ("slope_mean", 35.0)):
        x.append(
            np.full(len(rain), (value - scaler["attribute_means"][name]) / scaler["attribute_stds"][name])
        )
    lstm = torch.nn.LSTM(len(x), H)
    lstm.load_state_dict({k.removeprefix("lstm."): v for k, v in weights.items() if k.startswith("lstm.")})
    with torch.no_grad():
        hidden, _ = lstm(torch.tensor(np.stack(x, -1), dtype=torch.float32).unsqueeze(1))
        y = (hidden @ weights["head.net.0.weight"].T + weights["head.net.0.bias"])[:, 0, 0].numpy()
    return np.maximum(y * scale["QObs(mm/h)"] + centre["QObs(mm/h)"], 0.0) / 1000


def test_several_runs_are_a_mean_each_scaled_by_its_own_training_and_at_least_zero(catchments):
    configure(catchments / "both.yml", ["a/config.yml", "b/config.yml"])
    bmi = start(catchments / "both.yml")
    assert "land_surface_air__pressure" in bmi.get_input_var_names()
    rain, warmth = weather()
    pressure = np.linspace(8.8e4, 9.3e4, len(rain))
    members = [by_hand(catchments / name, rain, warmth, pressure=pressure) for name in ("a", "b")]
    assert any((member == 0).any() for member in members)
    expected = np.mean(members, axis=0)
    for hour in range(len(rain)):
        bmi.set_value("land_surface_air__pressure", pressure[hour : hour + 1])
        depth, flow = step(bmi, rain[hour], warmth[hour])
        assert depth == pytest.approx(expected[hour], rel=1e-5, abs=1e-10)
        assert flow == pytest.approx(depth * 7.5e6 / 3600, rel=1e-12)


# -- many catchments ----------------------------------------------------------------------


def test_catchments_of_one_folder_share_a_model_and_keep_what_is_theirs(catchments):
    rain, warmth = weather()
    one, other = start(catchments / "cat-1.yml"), start(catchments / "cat-2.yml")
    assert one.component.group is other.component.group
    for hour in range(len(rain)):
        first = step(one, rain[hour], warmth[hour])
        second = step(other, 2 * rain[hour], warmth[hour] - 1)
    expected = by_hand(catchments / "a", rain, warmth, 200.0)[-1]
    assert first == pytest.approx((expected, expected * 5e6 / 3600), rel=1e-5)
    expected = by_hand(catchments / "a", 2 * rain, warmth - 1, 400.0)[-1]
    assert second == pytest.approx((expected, expected * 10e6 / 3600), rel=1e-5)


def test_weather_that_is_stored_gives_the_same_and_runs_all_catchments_at_once(catchments):
    rain, warmth = weather()
    store = catchments / "store"
    store.mkdir()
    np.save(store / "P.npy", np.stack([rain, 2 * rain], -1))
    np.save(store / "T.npy", np.stack([warmth, warmth - 1], -1))
    variables = {"P": {"file": "P.npy", "units": "mm h-1"}, "T": {"file": "T.npy", "units": "K"}}
    index = {"ids": ["cat-1", "cat-2"], "start_time": "2015-12-01", "step": 3600.0, "variables": variables}
    (store / "forcing.yaml").write_text(yaml.safe_dump(index))
    pushed = [start(catchments / f"cat-{k}.yml") for k in (1, 2)]
    expected = [
        [step(bmi, (k + 1) * rain[hour], warmth[hour] - k) for k, bmi in enumerate(pushed)]
        for hour in range(len(rain))
    ]
    for bmi in pushed:
        bmi.finalize()
    for k in (1, 2):
        values = yaml.safe_load((catchments / f"cat-{k}.yml").read_text())
        keys = {**values, "forcing": "store", "start_time": "2015-12-01"}
        (catchments / f"cat-{k}.yml").write_text(yaml.safe_dump(keys))
    stored = [start(catchments / f"cat-{k}.yml") for k in (1, 2)]
    assert stored[0].component.group is stored[1].component.group
    for hour in range(len(rain)):
        for bmi, flows in zip(stored, expected[hour], strict=True):
            bmi.update()
            values = [bmi.get_value(name, np.zeros(1))[0] for name in (DEPTH, FLOW)]
            np.testing.assert_allclose(values, flows, rtol=1e-5, atol=1e-10)
        assert stored[1].component.group.states.size == 2
    for wrong in ({"forcing": ["a"]}, {"start_time": "soon"}):
        configure(catchments / "cat-1.yml", "a/config.yml", **wrong)
        with pytest.raises(ConfigError, match="forcing must be a path and start_time a date"):
            start(catchments / "cat-1.yml")


def test_files_of_other_models_in_the_folder_are_left_alone(catchments):
    (catchments / "broken.yml").write_text("a: [", encoding="utf-8")
    (catchments / "other.yml").write_text("bundle: demo_daily\n", encoding="utf-8")
    configure(catchments / "both.yml", ["a/config.yml", "b/config.yml"])
    (catchments / "cat-3.yml").write_text("train_cfg_file: a/config.yml\narea_sqkm: 3\n", encoding="utf-8")
    one = start(catchments / "cat-1.yml")
    assert one.component.group.table.ids == ("cat-1", "cat-2")
    with pytest.raises(ConfigError, match=r"cat-3\.yml: missing key 'elev_mean'"):
        start(catchments / "cat-3.yml")


def test_a_file_that_was_written_again_counts_as_it_stands_now(catchments):
    start(catchments / "cat-1.yml").finalize()
    path = catchments / "cat-2.yml"
    again = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**again, "elev_mean": 700.0}))
    bmi = start(path)
    assert bmi.get_value("elev_mean", np.zeros(1)) == [700.0]


def test_a_catchment_that_is_initialized_twice_has_two_lives(catchments):
    rain, warmth = weather()
    first, second = start(catchments / "cat-1.yml"), start(catchments / "cat-1.yml")
    for hour in range(10):
        step(first, rain[hour], warmth[hour])
    expected = by_hand(catchments / "a", rain[:1], warmth[:1], 200.0)[0]
    assert step(second, rain[0], warmth[0])[0] == pytest.approx(expected, rel=1e-5)


def test_a_saved_state_goes_on_as_if_it_had_not_been_stopped(catchments):
    rain, warmth = weather()
    whole = start(catchments / "cat-1.yml")
    flows = [step(whole, rain[h], warmth[h]) for h in range(20)]
    whole.finalize()
    first = start(catchments / "cat-1.yml")
    for hour in range(10):
        step(first, rain[hour], warmth[hour])
    first.set_value("ngen::serialization_create", np.array([1.0]))
    state = first.get_value_ptr("ngen::serialization_state").copy()
    first.finalize()
    second = start(catchments / "cat-1.yml")
    second.set_value("ngen::serialization_state", state)
    assert [step(second, rain[h], warmth[h]) for h in range(10, 20)] == flows[10:]


def test_the_component_keeps_every_promise_of_a_bmi(catchments):
    results = Conformance(NoaaLstmBmi, str(catchments / "cat-1.yml"), {RAIN: 1.0, WARMTH: 281.0}).check()
    failed = [str(result) for result in results if result.outcome == "failed"]
    assert not failed


# -- paths, and what is refused ----------------------------------------------------------------


def test_runs_are_found_from_where_the_process_runs_and_from_the_file(catchments, monkeypatch, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(catchments / "cat-1.yml", tmp_path / "elsewhere" / "cat-9.yml")
    with pytest.raises(ConfigError, match=r"train_cfg_file: a/config\.yml: no such file"):
        start(tmp_path / "elsewhere" / "cat-9.yml")
    monkeypatch.chdir(catchments)
    assert start(tmp_path / "elsewhere" / "cat-9.yml").component.ids == ("cat-9",)


def test_ids_and_numbers_of_any_spelling_are_taken_as_noaa_takes_them(catchments):
    text = (catchments / "cat-1.yml").read_text().replace("basin_id: cat-1", "basin_id: 01022500")
    (catchments / "cat-7.yml").write_text(text.replace("area_sqkm: 5.0", "area_sqkm: 5e0"))
    assert start(catchments / "cat-7.yml").get_value("catchment__area", np.zeros(1)) == [5.0]


WRONG = {
    "nothing": (lambda c: {}, "is not a configuration of NOAA's LSTM"),
    "no area": (
        lambda c: {k: v for k, v in c.items() if k != "area_sqkm"},
        "requires train_cfg_file and area",
    ),
    "no run": (lambda c: c | {"train_cfg_file": None}, "train_cfg_file"),
    "an empty list": (lambda c: c | {"train_cfg_file": []}, "train_cfg_file must name"),
    "a mapping": (lambda c: c | {"train_cfg_file": {"a": 1}}, "train_cfg_file must name"),
    "another run": (lambda c: c | {"train_cfg_file": "none/config.yml"}, "no such file"),
    "a state of its own": (lambda c: c | {"initial_state": "warm"}, "initial_state must be zero, not 'warm'"),
    "an area in words": (lambda c: c | {"area_sqkm": "large"}, "area_sqkm must be a number, not 'large'"),
    "no land": (lambda c: c | {"area_sqkm": 0}, "area_sqkm must be positive"),
    "a negative area": (lambda c: c | {"area_sqkm": -3}, "area_sqkm must be positive"),
    "an elevation of nothing": (lambda c: c | {"elev_mean": float("nan")}, "elev_mean must be a number"),
    "an elevation in a list": (lambda c: c | {"elev_mean": [1.0]}, "elev_mean must be a number"),
    "no slope": (lambda c: {k: v for k, v in c.items() if k != "slope_mean"}, "missing key 'slope_mean'"),
    "a fill value": (lambda c: c | {"elev_mean": -9999.0}, "elev_mean"),
}


@pytest.mark.parametrize("case", sorted(WRONG))
def test_a_configuration_that_lacks_something_is_refused_with_file_and_key(catchments, case):
    change, said = WRONG[case]
    path = catchments / "cat-1.yml"
    path.write_text(yaml.safe_dump(change(yaml.safe_load(path.read_text()))))
    with pytest.raises(DmgBmiError, match=said) as caught:
        start(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"epochs": None}, "epochs must be the number of the checkpoint"),
        ({"epochs": 30}, r"has no model_epoch030\.pt"),
        ({"target_variables": ["APCP_surface"]}, "target_variables must be runoff as a depth"),
        ({"model": "transformer"}, "model 'transformer' cannot be imported"),
    ],
)
def test_a_run_that_cannot_be_imported_is_named_through_the_component(catchments, keys, said):
    config = yaml.safe_load((catchments / "a" / "config.yml").read_text())
    (catchments / "a" / "config.yml").write_text(yaml.safe_dump(config | keys))
    with pytest.raises((ConfigError, ImportModelError), match=said):
        start(catchments / "cat-1.yml")


def test_missing_weather_is_refused_and_nothing_has_changed(catchments):
    bmi = start(catchments / "cat-1.yml")
    first = step(bmi, 0.5, 285.0)
    with pytest.raises(ForcingError, match=RAIN):
        step(bmi, float("nan"), 285.0)
    assert bmi.get_current_time() == 3600.0
    assert (bmi.get_value(DEPTH, np.zeros(1))[0], bmi.get_value(FLOW, np.zeros(1))[0]) == first


def test_the_command_import_recognises_a_configuration_and_makes_its_bundle(catchments, tmp_path, capsys):
    assert main(["import", str(catchments / "cat-1.yml"), "--output", str(tmp_path / "bundle")]) == 0
    assert "a model of NOAA's LSTM" in capsys.readouterr().out
    # One fingerprint, so that what is compiled for the bundle serves the component.
    component = start(catchments / "cat-1.yml").component
    assert BundleInfo.read(tmp_path / "bundle").fingerprint == component.info.fingerprint
