"""The plugin in the real eWaterCycle, on its own Caravan forcing."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

pytest.importorskip("ewatercycle", reason="pip install ewatercycle")
from ewatercycle.forcing import sources as forcings
from ewatercycle.models import sources as models
from ewatercycle_dmg_bmi import DmgBmi

from dmg_bmi import Bundle

ATTRIBUTES = {"elev_mean": 640.0, "area": 320.0, "aridity": 0.8}
ATTRIBUTES |= {"frac_snow": 0.2, "frac_forest": 0.6, "clay_frac": 18.0}
RUNOFF = "land_surface_water__runoff_depth"
DAYS = 60
START, END = "1990-10-01T00:00:00Z", "1990-11-29T00:00:00Z"


@pytest.fixture(scope="module")
def weather():
    rng = np.random.default_rng(2)
    return {"P": rng.gamma(0.5, 8.0, DAYS), "T": rng.uniform(2, 15, DAYS), "PET": rng.uniform(0, 3, DAYS)}


@pytest.fixture(scope="module")
def caravan(weather, tmp_path_factory):
    """Forcing that eWaterCycle's own class takes from a Caravan file."""
    cache = tmp_path_factory.mktemp("caravan")
    times = np.datetime64("1990-10-01", "ns") + np.arange(DAYS) * np.timedelta64(1, "D")

    def series(values, unit):
        return xr.DataArray(values[None], dims=("basin_id", "time"), attrs={"unit": unit})

    data = xr.Dataset(
        {
            "total_precipitation_sum": series(weather["P"], "mm"),
            "potential_evaporation_sum": series(weather["PET"], "mm"),
            **{f"temperature_2m_{kind}": series(weather["T"], "°C") for kind in ("mean", "min", "max")},
            "streamflow": series(np.ones(DAYS), "mm"),
        },
        coords={"basin_id": np.array([b"camels_01"]), "time": times},
        attrs={"history": "made for a test"},
    )
    data.to_netcdf(cache / "camels.nc")
    shape = cache / "basin.shp"
    for suffix in (".shp", ".prj", ".dbf", ".shx"):
        shape.with_suffix(suffix).write_bytes(b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARAVAN_CACHE", str(cache))
        return forcings["CaravanForcing"].generate(
            start_time=START, end_time=END, directory=str(cache), basin_id="camels_01", shape=str(shape)
        )


@pytest.fixture
def model(caravan, tmp_path):
    model = DmgBmi(forcing=caravan)
    config, _ = model.setup(
        cfg_dir=str(tmp_path / "run"),
        bundle="demo_daily",
        attributes=ATTRIBUTES,
        area_km2=320.0,
        latitude=44.6,
        longitude=-67.9,
    )
    assert Path(config).is_file()
    model.initialize(config)
    return model


def test_it_is_among_the_models(caravan):
    assert models["DmgBmi"] is DmgBmi


def test_a_run_on_caravans_forcing_is_the_models_own(model, weather):
    import torch

    found = []
    while model.time < model.end_time:
        model.update()
        found.append(model.get_value(RUNOFF)[0] * 1000)
    assert len(found) == DAYS
    with torch.no_grad():
        fluxes, _ = Bundle.load("demo_daily").model.eval()(
            {name: torch.from_numpy(values)[:, None] for name, values in weather.items()},
            {name: torch.tensor([value], dtype=torch.float64) for name, value in ATTRIBUTES.items()},
        )
    expected = fluxes["Q"][:, 0].numpy()
    # Temperatures go through kelvins and rain through rates, in single precision.
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert sum(found) > 1


def test_times_are_dates(model):
    assert model.time_units.startswith("seconds since 1970")
    assert model.start_time_as_datetime == datetime(1990, 10, 1)
    model.update()
    assert model.time_as_isostr == "1990-10-02T00:00:00Z"
    assert model.end_time_as_datetime == datetime(1990, 11, 30)
    model.bmi.update_until(model.time + 2 * 86400)
    assert model.time_as_datetime == datetime(1990, 10, 4)


def test_stores_are_set_by_name_and_flow_has_a_place(model):
    model.update()
    soil = model.get_value("phy.SM")
    model.set_value("phy.SM", soil + 10)
    np.testing.assert_allclose(model.get_value("phy.SM"), soil + 10)
    flow = model.get_value_as_xarray(RUNOFF)
    assert flow.dims == ("time", "latitude", "longitude")
    assert float(flow["latitude"][0]) == 44.6
    assert flow.attrs["units"] == "m"


def test_missing_forcing_is_named(caravan, tmp_path):
    less = caravan.model_copy(update={"filenames": {"pr": caravan.filenames["pr"]}})
    with pytest.raises(ValueError, match="needs the forcing evspsblpot"):
        DmgBmi(forcing=less).setup(cfg_dir=str(tmp_path), bundle="demo_daily", attributes=ATTRIBUTES)
