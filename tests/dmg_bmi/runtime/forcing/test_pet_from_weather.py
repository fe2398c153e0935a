"""PET from the weather that NextGen's forcing has."""

import numpy as np
import pytest
import torch
import yaml
from dmg_bmi.physics import pet

from dmg_bmi.errors import AttributeTableError, ConfigError, VariableError
from dmg_bmi.io.units import conversion
from dmg_bmi.runtime.forcing.pet_from_weather import AORC, METHODS

HOUR, DAY = 3600.0, 86400.0
UNITS = {
    "TMP_2maboveground": "K", "PRES_surface": "Pa", "SPFH_2maboveground": "kg kg-1", "DSWRF_surface": "W m-2",
    "DLWRF_surface": "W m-2", "UGRD_10maboveground": "m s-1", "VGRD_10maboveground": "m s-1",
}  # fmt: skip
PRECIPITATION = "atmosphere_water__liquid_equivalent_precipitation_rate"
LATITUDE, ELEVATION = 41.0, 350.0


def aorc(hours, n=1, seed=0):
    """Plausible hourly weather from midnight, in AORC's units; precipitation in mm s-1."""
    rng = np.random.default_rng(seed)
    hour = np.arange(hours)[:, None]
    sun = np.maximum(np.cos(2 * np.pi * (hour - 13) / 24), 0.0)
    noise = rng.normal(size=(hours, n))
    return {
        PRECIPITATION: np.where(rng.random((hours, n)) < 0.2, 2e-4, 0.0),
        "TMP_2maboveground": 285.0 + 6.0 * np.cos(2 * np.pi * (hour - 15) / 24) + noise,
        "PRES_surface": 96000.0 + 100 * noise,
        "SPFH_2maboveground": 0.006 + 0.0004 * np.tanh(noise),
        "DSWRF_surface": 600.0 * sun + 0 * noise,
        "DLWRF_surface": 310.0 + 5 * noise,
        "UGRD_10maboveground": 2.0 + noise,
        "VGRD_10maboveground": -1.0 + noise,
    }


@pytest.fixture
def seen(monkeypatch):
    """Forcing of each model step, as the model sees it."""
    from dmg_bmi.model.delta_model import DeltaModel

    steps, run = [], DeltaModel.run

    def spy(self, forcing, *rest, **more):
        steps.append({name: values[0].numpy().copy() for name, values in forcing.items()})
        return run(self, forcing, *rest, **more)

    monkeypatch.setattr(DeltaModel, "run", spy)
    return steps


def configured(configure, bundle, method, n=1, **keys):
    attributes = {name: 1.0 for name in bundle.load_model().attribute_names}
    attributes |= dict(zip(("latitude", "elevation"), (LATITUDE, ELEVATION), strict=True))
    needed = {*METHODS[method].attributes, *bundle.load_model().attribute_names}
    catchments = {
        "ids": [f"cat-{k + 7}" for k in range(n)],
        "attributes": {k: v for k, v in attributes.items() if k in needed},
    }
    return configure(bundle, n, catchments=catchments, pet={"method": method}, time_step=HOUR, **keys)


def push(bmi, weather, hour):
    for name, values in weather.items():
        standard = AORC[name].name if name in AORC else name
        given = {PRECIPITATION: "mm s-1"} | UNITS
        scale, offset = conversion(given[name], bmi.get_var_units(standard))
        bmi.set_value(standard, values[hour] * scale + offset)


@pytest.mark.parametrize("method", METHODS)
def test_published_are_the_fields_that_the_method_needs(bundles, configure, bmi_run, method):
    bmi = bmi_run.start(configured(configure, bundles("lstm"), method, start_time="2001-07-01"))
    names = bmi.get_input_var_names()
    assert set(names) == {PRECIPITATION, *(AORC[n].name for n in METHODS[method].weather)}
    assert len(names) == {"penman_monteith": 8, "priestley_taylor": 5}.get(method, 2)
    for name in names:
        assert (bmi.get_var_type(name), bmi.get_var_itemsize(name)) == ("float64", 8)
    with pytest.raises(VariableError, match="PET"):
        bmi.set_value("PET", np.ones(1))
    assert bmi.get_var_units("TMP_2maboveground") == "degC"


def test_names_and_units_are_those_of_ngen_and_udunits():
    """ngen's well-known fields (AorcForcing.hpp); UDUNITS accepts their units as provided by AORC."""
    units = pytest.importorskip("gimli.units")
    expected = {
        "TMP_2maboveground": "land_surface_air__temperature",
        "PRES_surface": "land_surface_air__pressure",
        "SPFH_2maboveground": "atmosphere_air_water~vapor__relative_saturation",
        "DSWRF_surface": "land_surface_radiation~incoming~shortwave__energy_flux",
        "DLWRF_surface": "land_surface_radiation~incoming~longwave__energy_flux",
        "UGRD_10maboveground": "land_surface_wind__x_component_of_velocity",
        "VGRD_10maboveground": "land_surface_wind__y_component_of_velocity",
    }
    assert {symbol: v.name for symbol, v in AORC.items()} == expected
    for symbol, variable in AORC.items():
        convert = units.units.Unit(UNITS[symbol]).to(units.units.Unit(variable.units))
        scale, offset = conversion(UNITS[symbol], variable.units)
        assert convert(300.0) == pytest.approx(300.0 * scale + offset)


def t(values):
    return torch.as_tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("method", METHODS)
def test_pet_of_a_day_is_the_published_equation_on_its_hours(bundles, configure, bmi_run, seen, method):
    weather = aorc(49, 2)
    bmi = bmi_run.start(configured(configure, bundles("fixed"), method, 2, start_time="2001-07-01"))
    inputs = {PRECIPITATION, *METHODS[method].weather}
    for hour in range(49):
        push(bmi, {k: v for k, v in weather.items() if k in inputs}, hour)
        bmi.update()
    assert len(seen) == 2
    for day, forcing in enumerate(seen):
        hours = {name: t(values[24 * day : 24 * day + 24]) for name, values in weather.items()}
        celsius, doy = hours["TMP_2maboveground"] - 273.15, t(182 + day)
        vapour = pet.vapour_pressure(hours["SPFH_2maboveground"], hours["PRES_surface"])
        mean, latitude = celsius.mean(0), t(LATITUDE)
        if method == "penman_monteith":
            wind = (hours["UGRD_10maboveground"] ** 2 + hours["VGRD_10maboveground"] ** 2).sqrt() * 0.748
            net = (
                0.77 * hours["DSWRF_surface"]
                + hours["DLWRF_surface"]
                - 5.675e-8 * hours["TMP_2maboveground"] ** 4
            )
            expected = pet.penman_monteith_hourly(celsius, net, wind, vapour, hours["PRES_surface"]).sum(0)
        elif method == "priestley_taylor":
            shortwave = hours["DSWRF_surface"].mean(0)
            expected = pet.priestley_taylor(mean, shortwave, vapour.mean(0), t(ELEVATION), latitude, doy)
        elif method == "hargreaves":
            low, high = celsius.min(0).values, celsius.max(0).values
            expected = pet.hargreaves(low, high, mean, latitude, doy)
        else:
            expected = pet.oudin(mean, latitude, doy)
        np.testing.assert_allclose(forcing["PET"], expected, rtol=2e-3)
        assert (forcing["PET"] > 1.0).all()
        assert (forcing["PET"] < 12.0).all()
        np.testing.assert_allclose(forcing["T"], mean, rtol=1e-12)
        np.testing.assert_allclose(forcing["P"], hours[PRECIPITATION].sum(0) * 3600, rtol=1e-12)
        assert set(forcing) == {"P", "T", "PET"}


@pytest.mark.parametrize("method", METHODS)
def test_stored_weather_gives_what_pushed_weather_gives_a_day_later(
    bundles, configure, bmi_run, tmp_path, method
):
    weather = aorc(24 * 5, 2, seed=1)
    folder = tmp_path / "aorc"
    folder.mkdir()
    variables = {}
    for name, values in weather.items():
        symbol = name if name in AORC else "P"
        np.save(folder / f"{symbol}.npy", values)
        variables[symbol] = {"file": f"{symbol}.npy", "units": UNITS.get(name, "mm s-1")}
    index = {"ids": ["cat-7", "cat-8"], "start_time": "2001-07-01", "step": HOUR, "variables": variables}
    (folder / "forcing.yaml").write_text(yaml.safe_dump(index))
    keys = {"start_time": "2001-07-01"}
    bundle = bundles("lstm", DAY, torch.float64)
    pushed = bmi_run.start(configured(configure, bundle, method, 2, **keys))
    own = bmi_run.start(configured(configure, bundle, method, 2, **keys, forcing=str(folder)))
    assert own.get_input_var_names() == ()
    inputs = {PRECIPITATION, *METHODS[method].weather}
    out = {"pushed": [], "own": []}
    for hour in range(24 * 5):
        push(pushed, {k: v for k, v in weather.items() if k in inputs}, hour)
        for name, bmi in (("pushed", pushed), ("own", own)):
            bmi.update()
            out[name].append([bmi_run.read(bmi, n) for n in ("Q", "ET", "soil_moisture")])
    np.testing.assert_allclose(out["own"][:-24], out["pushed"][24:], rtol=1e-10, atol=1e-15)


def test_the_year_counts_from_the_day_that_the_model_step_begins_in(bundles, configure, bmi_run, seen):
    """A run that starts at noon of the last of February, days from 6 UTC on."""
    weather = aorc(24 * 3)
    config = configured(
        configure, bundles("fixed"), "oudin", start_time="2001-02-28T12:00:00", day_start_hour=6.0
    )
    bmi = bmi_run.start(config)
    for hour in range(24 * 3):
        push(bmi, {k: v for k, v in weather.items() if k in (PRECIPITATION, "TMP_2maboveground")}, hour)
        bmi.update()
    celsius = weather["TMP_2maboveground"] - 273.15
    days = [(celsius[:18], 59, 18 / 24), (celsius[18:42], 60, 1.0), (celsius[42:66], 61, 1.0)]
    for forcing, (hours, doy, part) in zip(seen, days, strict=True):
        expected = pet.oudin(t(hours.mean(0)), t(LATITUDE), t(doy)) * part
        np.testing.assert_allclose(forcing["PET"], expected, rtol=1e-12)


def test_an_hourly_model_takes_penman_monteith_alone(bundles, configure, bmi_run, seen):
    weather = aorc(30)
    bmi = bmi_run.start(configured(configure, bundles("fixed", HOUR), "penman_monteith"))
    for hour in range(30):
        push(bmi, weather, hour)
        bmi.update()
    assert len(seen) == 30
    by_hour = np.array([forcing["PET"][0] for forcing in seen])
    assert by_hour[:4].max() < 0.05 < by_hour[13] < 1.0
    for method in ("priestley_taylor", "hargreaves", "oudin"):
        with pytest.raises(ConfigError, match="choose penman_monteith"):
            bmi_run.start(configured(configure, bundles("fixed", HOUR), method, start_time="2001-07-01"))


@pytest.mark.parametrize(
    ("keys", "error", "match"),
    [
        ({"pet": {"method": "thornthwaite"}}, ConfigError, "pet.method.*penman_monteith"),
        ({"pet": {"method": "oudin"}, "time_step": HOUR}, AttributeTableError, "'latitude' is missing"),
        ({"pet": {"method": "penman_monteith"}}, ConfigError, "hour by hour"),
    ],
)
def test_what_a_method_lacks_is_said(bundles, configure, bmi_run, keys, error, match):
    with pytest.raises(error, match=match):
        bmi_run.start(configure(bundles("fixed"), 1, start_time="2001-07-01", **keys))


def test_a_method_of_whole_days_needs_a_date_and_hargreaves_hours(bundles, configure, bmi_run):
    with pytest.raises(ConfigError, match="start_time"):
        bmi_run.start(configured(configure, bundles("fixed"), "oudin"))
    daily = {"ids": ["a"], "attributes": {"latitude": 40.0}}
    with pytest.raises(ConfigError, match="hourly forcing"):
        bmi_run.start(
            configure(
                bundles("fixed"), catchments=daily, pet={"method": "hargreaves"}, start_time="2001-07-01"
            )
        )
