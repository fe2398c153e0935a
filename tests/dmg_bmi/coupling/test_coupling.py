"""Coupled runs: water kept, restarts, units, items by id, steps of their own, and what is refused."""

import csv

import numpy as np
import pytest
from coupled_folders import write

from dmg_bmi.cli.couple import couple
from dmg_bmi.errors import ConfigError, ForcingError, StateError
from dmg_bmi.hydrofabric import reader as hydrofabric
from dmg_bmi.io import netcdf
from dmg_bmi.io.timeseries import BasinDataset
from dmg_bmi.synthetic import river_basin

DEPTH, FLOW = "land_surface_water__runoff_depth", "land_surface_water_source__volume_flow_rate"
VOLUME = "channel_water__volume"
ATTRIBUTES = {"elev_mean": 300.0, "aridity": 0.8, "frac_snow": 0.2, "frac_forest": 0.7, "clay_frac": 15.0}
START = np.datetime64("2015-12-01T00:00:00")


def domain(folder, fabric, ids, area, weather, bundle="demo_hourly", depth=True):
    """Files of a run of runoff into rivers; the function to change keys of the coupling and run it."""
    with open(folder / "divides.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["id", *ATTRIBUTES, "area", "area_km2"])
        rows.writerows([name, *ATTRIBUTES.values(), a, a] for name, a in zip(ids, area, strict=True))
    times = START + np.arange(len(weather["P"])) * np.timedelta64(3600, "s")
    units = {"P": "mm", "T": "degC", "PET": "mm"}
    netcdf.write(folder / "forcing.nc", BasinDataset(tuple(ids), times, 3600.0, weather, {}, {}, units))
    write(
        folder / "runoff.yaml", {"bundle": bundle, "catchments": {"file": "divides.csv"}, "time_step": 3600}
    )
    river = {"bundle": "muskingum_cunge", "catchments": {"hydrofabric": str(fabric)}, "sources": "divide"}
    write(folder / "river.yaml", river)
    exchange = {"source": f"runoff.{DEPTH if depth else FLOW}", "target": f"river.{FLOW}"}
    content = {
        "start_time": "2015-12-01",
        "end_time": len(times) * 3600.0,
        "components": {
            "runoff": {"bmi": "dmg_bmi:DeltaModelBmi", "config": "runoff.yaml", "forcing": "forcing.nc"},
            "river": {
                "bmi": "dmg_bmi:RoutingBmi",
                "config": "river.yaml",
                "outputs": ["discharge", "outflow", VOLUME],
            },
        },
        "exchanges": [exchange | ({"area": "catchment__area"} if depth else {})],
    }

    def run(name="run", **keys):
        config = write(folder / f"{name}.yaml", {**content, **keys})
        files = couple(config, folder / name)
        return {part: netcdf.read(file) for part, file in files.items()}

    return run


def rain(hours, n):
    rng = np.random.default_rng(4)
    wet = np.repeat(rng.random((hours // 6 + 1, n)) < 0.3, 6, axis=0)[:hours]
    t = np.arange(hours)[:, None]
    return {
        "P": wet * rng.gamma(0.5, 4.0, (hours, n)),
        "T": 8.0 + 4.0 * np.sin(2 * np.pi * t / 24) + np.zeros(n),
        "PET": 0.1 * np.maximum(np.sin(2 * np.pi * t / 24), 0.0) + np.zeros(n),
    }


@pytest.fixture
def five(shared_data, tmp_path):
    """The domain of gauge 01073000: five divides, with the precipitation and temperature of AORC."""
    folder = shared_data / "nextgen_01073000"
    fabric = hydrofabric.read(folder / "gauge_01073000.gpkg")
    ids = fabric.divides.ids
    columns = {}
    for name in ids:
        with open(folder / "forcing" / f"{name}.csv", encoding="utf-8") as file:
            columns[name] = [
                (float(r["precip_rate"]), float(r["TMP_2maboveground"])) for r in csv.DictReader(file)
            ]
    # Of the month the wettest days, and more of it: the stores of the catchments begin empty.
    values = np.array([columns[name] for name in ids]).transpose(1, 0, 2)
    wettest = int(np.convolve(values[:, 0, 0], np.ones(96), "valid").argmax())
    values = values[wettest : wettest + 96]
    weather = {
        "P": values[..., 0] * 3600.0 * 40,
        "T": values[..., 1] - 273.15 + 8.0,
        "PET": np.full(values.shape[:2], 0.05),
    }
    assert weather["P"].sum() > 10
    return domain(tmp_path, fabric.path, ids, fabric.divides.area, weather), fabric


# -- water ------------------------------------------------------------------------


def test_runoff_that_goes_in_leaves_at_the_outlet_or_is_stored(five):
    run, fabric = five
    found = run()
    area = dict(zip(fabric.divides.ids, fabric.divides.area, strict=True))
    runoff, river = found["runoff"], found["river"]
    into = sum(runoff.forcing["Q"][:, k].sum() * area[name] * 1e6 for k, name in enumerate(runoff.ids))
    outlet = fabric.network.ids.index("wb-11224")
    out, stored = river.forcing["outflow"][:, outlet].sum(), river.forcing["volume"][-1].sum()
    assert into > 1e5
    assert out > 0.05 * into
    assert out + stored == pytest.approx(into, rel=1e-9)
    assert river.ids == fabric.network.ids
    assert river.times[0] == START


@pytest.mark.parametrize("bundle", ["demo_hourly", "demo_daily"])
def test_a_run_that_is_cut_in_mid_day_gives_the_same_files(shared_data, tmp_path, bundle):
    fabric = hydrofabric.read(shared_data / "nextgen_01073000" / "gauge_01073000.gpkg")
    run = domain(tmp_path, fabric.path, fabric.divides.ids, fabric.divides.area, rain(60, 5), bundle)
    whole = run()
    first = run("first", end_time=31 * 3600.0, restart={"write": "{time}.state"})
    assert (tmp_path / "2015-12-02T0700.state").exists()
    second = run(
        "second", start_time="2015-12-02 07:00", end_time=29 * 3600.0, restart={"read": "{time}.state"}
    )
    for part in whole:
        for name, series in whole[part].forcing.items():
            joined = np.concatenate([first[part].forcing[name], second[part].forcing[name]])
            np.testing.assert_array_equal(joined, series, err_msg=f"{part} {name}")
        np.testing.assert_array_equal(
            np.concatenate([first[part].times, second[part].times]), whole[part].times
        )
    with pytest.raises(StateError, match=r"its time is 2015-12-02T07"):
        run("third", restart={"read": str(tmp_path / "2015-12-02T0700.state")})


def test_depth_times_area_and_flow_are_the_same_hand_over(tmp_path):
    basin = river_basin.generate(6, area=80.0, seed=3)
    basin.write(tmp_path / "basin.gpkg")
    found = []
    for depth in (True, False):
        (tmp_path / str(depth)).mkdir()
        run = domain(
            tmp_path / str(depth),
            tmp_path / "basin.gpkg",
            basin.ids,
            basin.area,
            rain(30, len(basin.ids)),
            depth=depth,
        )
        found.append(run()["river"].forcing)
    np.testing.assert_allclose(found[0]["discharge"], found[1]["discharge"], rtol=1e-12)
    assert found[0]["discharge"].max() > 0


def test_forcing_is_read_block_by_block(tmp_path, monkeypatch):
    basin = river_basin.generate(6, area=80.0, seed=3)
    basin.write(tmp_path / "basin.gpkg")
    run = domain(tmp_path, tmp_path / "basin.gpkg", basin.ids, basin.area, rain(30, len(basin.ids)))
    whole, lengths = run("whole"), []

    def series(file, name, steps, columns=slice(None), read=netcdf.Reader.series):
        lengths.append(steps.stop - steps.start)
        return read(file, name, steps, columns)

    with monkeypatch.context() as patch:
        patch.setattr(netcdf, "block_length", lambda width: 7)
        patch.setattr(netcdf.Reader, "series", series)
        patch.setattr(netcdf, "read", lambda path: path)
        files = run("blocks")
    assert lengths == [7] * 3 * 4 + [2] * 3  # three inputs, 30 records
    for part, path in files.items():
        found = netcdf.read(path)
        for name, values in whole[part].forcing.items():
            np.testing.assert_array_equal(found.forcing[name], values, err_msg=f"{part} {name}")


# -- components of others ---------------------------------------------------------


def test_records_that_end_too_early_are_refused(five):
    run, _ = five
    with pytest.raises(ConfigError, match=r"forcing\.nc: does not cover the run"):
        run(end_time=97 * 3600.0)


def test_a_bad_value_is_refused_by_component_and_row(five, tmp_path):
    run, _ = five
    forcing = netcdf.read(tmp_path / "forcing.nc")
    forcing.forcing["P"][3, 2] = np.nan
    netcdf.write(tmp_path / "forcing.nc", forcing)
    with pytest.raises(ForcingError, match=rf"runoff: .* of catchment '{forcing.ids[2]}' at 10800 s is NaN"):
        run()
