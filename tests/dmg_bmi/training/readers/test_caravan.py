"""The Caravan reader, on files of Caravan's shape: names, units, signs and gaps."""

import logging

import netCDF4
import numpy as np
import pytest

from dmg_bmi import Bundle
from dmg_bmi.errors import AttributeTableError, ConfigError, ForcingError
from dmg_bmi.training import TrainingConfig, train
from dmg_bmi.training.evaluate import evaluate
from dmg_bmi.training.readers.caravan import ATTRIBUTES, caravan
from dmg_bmi.training.readers.loading import load
from dmg_bmi.training.splits import splits

# As Caravan's own code writes it into each file (caravan_utils.get_metadata_info).
UNITS = """potential_evaporation_sum_ERA5_LAND: Potential Evaporation [mm] (original ...)
potential_evaporation_sum_FAO_PENMAN_MONTEITH: Potential Evaporation [mm] (FAO ...)
snow_depth_water_equivalent: ERA5-Land Snow-Water-Equivalent [mm]
streamflow: Observed streamflow [mm/d]
surface_pressure: Surface pressure [kPa]
temperature_2m: 2m air temperature [°C]
total_precipitation: Total precipitation [mm]
"""
FAO, ERA5 = "potential_evaporation_sum_FAO_PENMAN_MONTEITH", "potential_evaporation_sum_ERA5_LAND"


def write_basin(root, basin, first="1981-01-01", days=4, units=UNITS, **columns):
    source = basin.split("_")[0]
    folder = root / "timeseries" / "netcdf" / source
    folder.mkdir(parents=True, exist_ok=True)
    series = {
        "total_precipitation_sum": np.arange(days) + 0.5,
        "temperature_2m_mean": np.arange(days) - 1.0,
        FAO: np.full(days, 2.0),
        ERA5: np.full(days, 5.0),
        "snow_depth_water_equivalent_mean": np.full(days, 30.0),
        "surface_pressure_mean": np.full(days, 95.0),
        "streamflow": np.full(days, 1.5),
        **columns,
    }
    with netCDF4.Dataset(folder / f"{basin}.nc", "w") as data:
        data.createDimension("date", days)
        date = data.createVariable("date", "i8", ("date",))
        date.units, date.calendar = f"days since {first} 00:00:00", "proleptic_gregorian"
        date[:] = np.arange(days)
        for name, values in series.items():
            if values is not None:
                data.createVariable(name, "f4", ("date",), fill_value=np.nan)[:] = values
        if units:
            data.Units = units


def write_tables(root, source, rows):
    folder = root / "attributes" / source
    folder.mkdir(parents=True, exist_ok=True)
    climate, other, atlas = (
        ["gauge_id,p_mean,frac_snow"],
        ["gauge_id,area,country,gauge_name,gauge_lat"],
        ["gauge_id,ele_mt_sav"],
    )
    for basin, (p_mean, area, elevation) in rows.items():
        climate.append(f"{basin},{p_mean},0.25")
        other.append(f'{basin},{area},Wales,"River, upper",52.5')
        atlas.append(f"{basin},{elevation}")
    for kind, lines in (("caravan", climate), ("other", other), ("hydroatlas", atlas)):
        (folder / f"attributes_{kind}_{source}.csv").write_text("\n".join(lines) + "\n")


NAMES = ("p_mean", "area", "ele_mt_sav")


@pytest.fixture
def root(tmp_path):
    write_basin(tmp_path, "camels_01022500")
    write_basin(tmp_path, "camelsgb_39001", first="1981-01-03")
    write_tables(tmp_path, "camels", {"camels_01022500": (3.5, 573.6, 80.0)})
    write_tables(tmp_path, "camelsgb", {"camelsgb_39001": (2.1, 9948.0, 110.0)})
    return tmp_path


def test_basins_of_all_sources_stand_side_by_side_by_date(root):
    data = load(caravan(root, attributes=NAMES))
    assert data.ids == ("camels_01022500", "camelsgb_39001")
    assert [str(t)[:10] for t in data.times[[0, -1]]] == ["1981-01-01", "1981-01-06"]
    nan = np.nan
    np.testing.assert_array_equal(
        data.forcing["P"].T, [[0.5, 1.5, 2.5, 3.5, nan, nan], [nan, nan, 0.5, 1.5, 2.5, 3.5]]
    )
    np.testing.assert_array_equal(data.forcing["T"][:4, 0], [-1, 0, 1, 2])
    np.testing.assert_array_equal(data.target["Q"][:, 1], [nan, nan, 1.5, 1.5, 1.5, 1.5])
    assert {n: data.units[n] for n in ("P", "T", "PET", "Q", "area")} == {
        "P": "mm",
        "T": "degC",
        "PET": "mm",
        "Q": "mm",
        "area": "km2",
    }
    np.testing.assert_array_equal(data.attributes["area"], [573.6, 9948.0])
    np.testing.assert_array_equal(data.attributes["ele_mt_sav"], [80.0, 110.0])
    np.testing.assert_array_equal(data.attributes["gauge_lat"], 52.5)  # for maps


def test_pet_is_that_of_penman_and_monteith_or_by_choice_era5s(root):
    basin = ["camels_01022500"]
    assert (load(caravan(root, basin, NAMES)).forcing["PET"] == 2.0).all()
    assert (load(caravan(root, basin, NAMES, pet="era5_land")).forcing["PET"] == 5.0).all()


def test_files_before_version_1_5_have_era5s_pet_under_its_old_name(root):
    write_basin(
        root, "camels_01022500", **{FAO: None, ERA5: None, "potential_evaporation_sum": np.full(4, 6.0)}
    )
    basin = ["camels_01022500"]
    with pytest.raises(ConfigError, match=r"has no potential_evaporation_sum_FAO.*data.pet: era5_land"):
        caravan(root, basin, NAMES)
    assert (load(caravan(root, basin, NAMES, pet="era5_land")).forcing["PET"] == 6.0).all()


def test_the_sign_of_pet_is_upward_and_a_little_dew_is_no_pet(root):
    write_basin(root, "camels_01022500", **{FAO: np.array([2.0, -0.01, 1.0, 3.0])})
    basin = ["camels_01022500"]
    np.testing.assert_array_equal(load(caravan(root, basin, NAMES)).forcing["PET"][:, 0], [2, 0, 1, 3])
    write_basin(root, "camels_01022500", **{ERA5: np.full(4, -5.0)})
    with pytest.raises(
        ForcingError, match=r"camels_01022500.nc: potential evaporation is negative on average"
    ):
        load(caravan(root, basin, NAMES, pet="era5_land"))


def test_units_are_those_the_file_says(root):
    said = UNITS.replace("temperature [°C]", "temperature [K]").replace(
        "Total precipitation [mm]", "Total precipitation [m]"
    )
    write_basin(root, "camels_01022500", units=said, temperature_2m_mean=np.full(4, 283.15))
    data = load(caravan(root, ["camels_01022500"], NAMES))
    np.testing.assert_allclose(data.forcing["T"], 10.0, atol=1e-4)
    np.testing.assert_allclose(data.forcing["P"][:, 0], [500, 1500, 2500, 3500])
    write_basin(root, "camels_01022500", units="")
    np.testing.assert_array_equal(load(caravan(root, ["camels_01022500"], NAMES)).forcing["P"][0], 0.5)
    for units in ("m3/s", "furlong"):
        write_basin(
            root, "camels_01022500", units=UNITS.replace("streamflow [mm/d]", f"streamflow [{units}]")
        )
        with pytest.raises(ConfigError, match=rf"camels_01022500\.nc: streamflow: .*'{units}'"):
            load(caravan(root, ["camels_01022500"], NAMES))


def test_further_columns_are_inputs_in_their_own_units_or_targets(root):
    source = caravan(
        root,
        attributes=NAMES,
        inputs=["surface_pressure_mean"],
        targets={"SWE": "snow_depth_water_equivalent_mean"},
    )
    data = load(source)
    assert data.units["surface_pressure_mean"] == "kPa"
    assert np.nanmax(data.forcing["surface_pressure_mean"]) == 95.0
    assert [*data.target] == ["Q", "SWE"]
    assert np.nanmax(data.target["SWE"]) == 30.0


def test_negative_and_missing_flow_is_masked(root):
    write_basin(root, "camels_01022500", streamflow=np.array([1.0, -999.0, np.nan, 0.0]))
    flow = load(caravan(root, ["camels_01022500"], NAMES)).target["Q"][:, 0]
    np.testing.assert_array_equal(flow, [1.0, np.nan, np.nan, 0.0])


def test_a_basin_without_an_attribute_is_left_out_and_reported(root, caplog):
    write_tables(root, "camelsgb", {"camelsgb_39001": ("", 9948.0, 110.0)})
    with caplog.at_level(logging.WARNING):
        assert caravan(root, attributes=NAMES).ids == ("camels_01022500",)
    assert "basin camelsgb_39001 is left out: no attribute p_mean" in caplog.text


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"basins": ["camels_1"]}, ConfigError, "no file of basin 'camels_1'; available: camels_01022500"),
        ({"attributes": ["p_means"]}, ConfigError, "no attribute p_means; did you mean p_mean. available"),
        ({"attributes": ["country"]}, AttributeTableError, "country is 'Wales', not a number; .* choose"),
        ({"attributes": NAMES, "inputs": ["dew"]}, ConfigError, "has no dew; available: .*streamflow"),
    ],
)
def test_what_is_not_there_is_named(root, options, error, said):
    with pytest.raises(error, match=said):
        caravan(root, **options)


def test_other_folders_and_files_are_refused(root, tmp_path):
    with pytest.raises(ConfigError, match="is this a folder of Caravan"):
        caravan(tmp_path / "timeseries")
    (root / "timeseries" / "netcdf" / "camels" / "camels_01022500.nc").write_text("torn")
    with pytest.raises(ForcingError, match="cannot be read as NetCDF"):
        caravan(root, attributes=NAMES)
    for source in ("camels", "camelsgb"):
        write_tables(root, source, {"of another folder": (3.5, 573.6, 80.0)})
    with pytest.raises(AttributeTableError, match="has none of the basins"):
        caravan(root, attributes=NAMES)


def test_a_training_of_caravan_needs_a_path_alone_and_may_read_from_disk(tmp_path):
    rng = np.random.default_rng(0)
    days = 200
    for basin in ("camels_1", "camels_2", "camels_3"):
        rain = rng.gamma(0.5, 8.0, days)
        write_basin(
            tmp_path,
            basin,
            days=days,
            total_precipitation_sum=rain,
            temperature_2m_mean=rng.normal(8, 3, days),
            streamflow=np.convolve(rain, [0.3, 0.2, 0.1])[:days],
        )
    folder = tmp_path / "attributes" / "camels"
    folder.mkdir(parents=True)
    lines = [",".join(["gauge_id", *ATTRIBUTES])]
    lines += [
        ",".join([f"camels_{k}", *(f"{v:.3f}" for v in rng.random(len(ATTRIBUTES)))]) for k in (1, 2, 3)
    ]
    (folder / "attributes_all_camels.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "caravan.yaml").write_text(
        f"""
name: small
data: {{reader: caravan, path: {tmp_path}}}
periods: {{train: [1981-01-01, 1981-05-31], test: [1981-06-01, 1981-07-15], spin_up: 30}}
model:
  nn: {{name: mlp, hidden_sizes: [4]}}
  phy_model: {{name: hbv}}
training: {{max_steps: 2, batch_size: 4, seq_length: 60}}
"""
    )
    config = TrainingConfig.read(tmp_path / "caravan.yaml", ["basins.folds=3", "basins.fold=1"])
    run = train(config, tmp_path / "run")
    assert {*run.scores} == {"train", "test", "ungauged"}
    assert np.isfinite(run.scores["ungauged"].values["NSE"]).all()
    mapped = TrainingConfig.read(tmp_path / "run" / "config.yaml", [f"data.cache={tmp_path / 'cache'}"])
    dataset = mapped.data.read()
    assert isinstance(dataset.forcing["P"], np.memmap)
    chosen = splits(mapped, dataset).values()
    found = evaluate(Bundle.load(run.bundle).model, dataset, chosen, ["Q"], mapped.periods.spin_up)
    for scores in found:
        expected = run.scores[scores.split].values["NSE"]
        np.testing.assert_allclose(scores.values["NSE"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("given", ["01022500", "CAMELS_01022500", "camels_1022500"])
def test_ids_of_tables_that_match_nothing_are_shown_beside_those_of_the_files(root, given, caplog):
    write_tables(root, "camels", {given: (3.5, 573.6, 80.0)})
    said = (
        f"attributes_caravan_camels.csv: has none of the basins: column 'gauge_id' has ids such as '{given}'"
    )
    with pytest.raises(AttributeTableError, match=f"{said}, the basins are such as 'camels_01022500'"):
        caravan(root, ["camels_01022500"], NAMES)
    assert caravan(root, attributes=NAMES).ids == ("camelsgb_39001",)
    assert f"{said}, the basins are such as 'camels_01022500'" in caplog.text


@pytest.mark.parametrize("given", ["01022500", "1022500.0", "CAMELS_01022500", "camels_01022500.0"])
def test_a_basin_that_a_table_spells_otherwise_than_its_other_basins_is_not_lost(root, given):
    write_basin(root, "camels_01013500")
    write_tables(root, "camels", {"camels_01013500": (3.0, 2252.7, 60.0), given: (3.5, 573.6, 80.0)})
    with pytest.raises(AttributeTableError, match=rf"camels\.csv: has '{given}' for basin 'camels_01022500'"):
        caravan(root, ["camels_01013500", "camels_01022500"], NAMES)


def test_a_column_of_two_tables_with_other_values_is_named_with_both(root):
    file = root / "attributes" / "camels" / "attributes_zz_camels.csv"
    file.write_text("gauge_id,p_mean\ncamels_01022500,3.5000001\n")
    assert caravan(root, ["camels_01022500"], NAMES).attributes["p_mean"] == [3.5]
    file.write_text("gauge_id,p_mean\ncamels_01022500,NA\n")
    assert caravan(root, ["camels_01022500"], NAMES).attributes["p_mean"] == [3.5]
    file.write_text("gauge_id,p_mean\ncamels_01022500,1277.5\n")
    with pytest.raises(
        AttributeTableError, match=r"zz_camels\.csv: p_mean of basin camels_01022500 is 1277\.5, in"
    ):
        caravan(root, ["camels_01022500"], NAMES)


def test_an_index_that_pandas_wrote_before_the_ids_is_passed_over(root):
    expected = caravan(root, attributes=NAMES).attributes
    for file in root.glob("attributes/*/*.csv"):
        lines = file.read_text().splitlines()
        file.write_text("\n".join(f"{'' if k == 0 else k - 1},{line}" for k, line in enumerate(lines)))
    found = caravan(root, attributes=NAMES).attributes
    for name in NAMES:
        np.testing.assert_array_equal(found[name], expected[name])


def test_infinite_series_are_named_with_basin_and_date(root):
    write_basin(root, "camels_01022500", streamflow=np.array([1.0, np.inf, 1.0, 1.0]))
    with pytest.raises(ForcingError, match="Q of basin camels_01022500 is infinite on 1981-01-02"):
        load(caravan(root, attributes=NAMES))


def test_a_folder_without_attributes_is_named(root):
    (root / "attributes").rename(root / "away")
    with pytest.raises(ConfigError, match=r"has no attributes/<source>/\*.csv of camels, camelsgb"):
        caravan(root, attributes=NAMES)


def as_csv(root):
    """The same series as Caravan's other download has them."""
    for file in list(root.glob("timeseries/netcdf/*/*.nc")):
        with netCDF4.Dataset(file) as data:
            first = np.datetime64(data["date"].units.split()[2])
            columns = {name: data[name][:].filled(np.nan) for name in data.variables if name != "date"}
        lines = [",".join(["date", *columns])]
        for k, row in enumerate(zip(*columns.values(), strict=True)):
            lines.append(",".join([str(first + k), *("" if np.isnan(v) else repr(float(v)) for v in row)]))
        table = root / "timeseries" / "csv" / file.parent.name / f"{file.stem}.csv"
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_text("\n".join(lines) + "\n")
        file.unlink()
    return sorted(root.glob("timeseries/csv/*/*.csv"))


def test_the_csv_files_of_caravan_give_what_its_netcdf_files_give(root):
    write_basin(root, "camels_01022500", streamflow=np.array([1.5, np.nan, -1.0, 2.5]))
    expected = load(caravan(root, attributes=NAMES))
    as_csv(root)
    found = load(caravan(root, attributes=NAMES))
    assert found.ids == expected.ids
    np.testing.assert_array_equal(found.times, expected.times)
    for kind in ("forcing", "target", "attributes"):
        for name, values in getattr(expected, kind).items():
            np.testing.assert_array_equal(getattr(found, kind)[name], values)
            assert found.units[name] == expected.units[name]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("date,", "day,", "has no column 'date'; it has day, total"),
        ("1981-01-02", "02/01/1981", "line 3: the date '02/01/1981' is not understood: it must be like"),
        ("1981-01-02", "1981-01-02 or so", "line 3: the date '1981-01-02 or so' is not understood"),
        ("1981-01-02", "1981-02-29", "line 3: the date '1981-02-29' is not understood"),
        ("1981-01-02", "1981-01-01", "its days are not in order"),
        ("1.5\n", "ice\n", "line 2: streamflow is 'ice', not a number"),
        (
            "1981-01-02",
            "1981-01-02 00:00:00+01:00",
            "begins at 1981-01-01T23:00:00 UTC, .* dates without time",
        ),
    ],
)
def test_a_wrong_csv_file_is_named_with_line_and_column(root, old, new, said):
    file = as_csv(root)[0]
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(ForcingError, match=f"{file.name}.*{said}"):
        load(caravan(root, attributes=NAMES))


def test_a_series_of_another_shape_or_of_text_is_named(root):
    for kind, dimensions in (("f4", ()), (str, ("date",))):
        file = root / "timeseries" / "netcdf" / "camels" / "camels_01022500.nc"
        write_basin(root, "camels_01022500", streamflow=None)
        with netCDF4.Dataset(file, "a") as data:
            series = data.createVariable("streamflow", kind, dimensions)
            if dimensions:
                series[:] = np.array(["a"] * 4, dtype=object)
        with pytest.raises(ForcingError, match=r"camels_01022500\.nc: streamflow"):
            load(caravan(root, attributes=NAMES))


def test_a_mark_of_missing_values_is_missing_and_no_evaporation_of_zero(root, caplog):
    """One of -9999 among many days does not turn the mean below zero."""
    days = 20000
    pet, rain = np.full(days, 2.0), np.full(days, 1.0)
    pet[7] = rain[9] = -9999.0
    write_basin(root, "camels_01022500", days=days, **{FAO: pet, "total_precipitation_sum": rain})
    data = load(caravan(root, ["camels_01022500"], NAMES))
    assert np.flatnonzero(np.isnan(data.forcing["PET"][:, 0])).tolist() == [7]
    assert np.flatnonzero(np.isnan(data.forcing["P"][:, 0])).tolist() == [9]
    assert caplog.text.count("1 values are -9999, and taken as missing") == 2
