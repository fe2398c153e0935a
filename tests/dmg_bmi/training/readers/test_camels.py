"""The CAMELS-US reader: units, dates and gaps, on files written here and on rows of the real ones."""

import logging

import numpy as np
import pytest
import torch
from dmg_bmi.physics import pet

from dmg_bmi.errors import AttributeTableError, ConfigError, ForcingError
from dmg_bmi.training.readers.camels import ATTRIBUTES, CamelsData, read_camels

HEADER = "Year Mnth Day Hr\tDayl(s)\tPRCP(mm/day)\tSRAD(W/m2)\tSWE(mm)\tTmax(C)\tTmin(C)\tVp(Pa)\n"


def write_basin(root, gauge, weather, flow, attributes="0.5;100.0", area_m2=2.0e8):
    forcing = root / "basin_mean_forcing" / "nldas" / gauge[:2]
    flows = root / "usgs_streamflow" / gauge[:2]
    tables = root / "camels_attributes_v2.0"
    for folder in (forcing, flows, tables):
        folder.mkdir(parents=True, exist_ok=True)
    (forcing / f"{gauge}_lump_nldas_forcing_leap.txt").write_text(
        f" 40.00\n 500.0\n {area_m2:.0f}\n{HEADER}{weather}"
    )
    (flows / f"{gauge}_streamflow_qc.txt").write_text(flow.replace("ID", gauge))
    topography = tables / "camels_topo.txt"
    if not topography.exists():
        topography.write_text("gauge_id;slope_mean;area_gages2\n")
    if attributes is not None:
        with topography.open("a") as file:
            file.write(f"{gauge};{attributes}\n")


WEATHER = (
    "2000 02 28 12\t43200.00\t5.00\t400.00\t0.00\t10.00\t2.00\t800.00\n"
    "2000 02 29 12\t43200.00\t0.00\t300.00\t0.00\t12.00\t4.00\t900.00\n"
    "2000 03 01 12\t21600.00\t1.00\t200.00\t0.00\t14.00\t6.00\t700.00\n"
)
FLOW = "ID 2000 02 29 1000.00 A\nID 2000 03 01 -999.00 M\nID 2000 03 02 7.00 A:e\n"
NAMES = ("slope_mean",)


@pytest.fixture
def camels(tmp_path):
    write_basin(tmp_path, "01000001", WEATHER, FLOW)
    return tmp_path


def test_flow_becomes_depth_over_the_chosen_area_aligned_by_date(camels):
    data = read_camels(camels, attributes=NAMES)
    assert data.ids == ("01000001",)
    assert [str(d)[:10] for d in data.times] == ["2000-02-28", "2000-02-29", "2000-03-01"]
    # 1000 ft3/s x 0.028316846592 m3/ft3 x 86400 s / 100 km2.
    expected = 1000 * 0.028316846592 * 86400 / 100e6 * 1000
    np.testing.assert_allclose(data.target["Q"][:, 0], [np.nan, expected, np.nan])
    by_header = read_camels(camels, attributes=NAMES, area="forcing_header")
    np.testing.assert_allclose(by_header.target["Q"][1, 0], expected / 2)


def test_radiation_is_spread_over_the_day_and_temperature_is_the_mean(camels):
    data = read_camels(camels, attributes=NAMES)
    np.testing.assert_allclose(data.forcing["SRAD"][:, 0], [200.0, 150.0, 50.0])
    np.testing.assert_allclose(data.forcing["T"][:, 0], [6.0, 8.0, 10.0])
    np.testing.assert_allclose(data.forcing["P"][:, 0], [5.0, 0.0, 1.0])
    np.testing.assert_allclose(data.forcing["VP"][:, 0], [800.0, 900.0, 700.0])
    np.testing.assert_allclose(data.forcing["daylength"][:, 0], [43200.0, 43200.0, 21600.0])
    assert data.units["SRAD"] == "W m-2"
    assert data.units["Q"] == "mm"


def test_pet_uses_latitude_and_elevation_of_the_file_and_the_chosen_method(camels):
    def t(value):
        return torch.tensor(value, dtype=torch.float64)

    day = t(59.0)
    found = {
        m: read_camels(camels, attributes=NAMES, pet=m).forcing["PET"][0, 0]
        for m in ("priestley_taylor", "oudin", "hargreaves")
    }
    expected = pet.priestley_taylor(t(6.0), t(200.0), t(800.0), t(500.0), t(40.0), day)
    assert found["priestley_taylor"] == pytest.approx(float(expected))
    assert found["oudin"] == pytest.approx(float(pet.oudin(t(6.0), t(40.0), day)))
    assert found["hargreaves"] == pytest.approx(float(pet.hargreaves(t(2.0), t(10.0), t(6.0), t(40.0), day)))


def test_hargreaves_is_refused_where_there_is_no_daily_range(tmp_path):
    write_basin(
        tmp_path,
        "01000001",
        WEATHER.replace("10.00\t2.00", "6.00\t6.00")
        .replace("12.00\t4.00", "8.00\t8.00")
        .replace("14.00\t6.00", "9.00\t9.00"),
        FLOW,
    )
    with pytest.raises(ConfigError, match=r"Tmax equals Tmin .* choose pet: priestley_taylor"):
        read_camels(tmp_path, attributes=NAMES, pet="hargreaves")


def test_basins_of_other_periods_stand_beside_each_other_with_gaps(camels):
    later = WEATHER.replace("2000", "2001").replace("02 29", "03 02").splitlines()
    later = "\n".join([later[0], later[2]]) + "\n"
    write_basin(camels, "02000001", later, FLOW.replace("2000", "2001").replace("02 29", "02 28"))
    data = read_camels(camels, attributes=NAMES)
    assert len(data.times) == 368
    assert np.isnan(data.forcing["P"][:, 1]).sum() == 366
    np.testing.assert_allclose(data.forcing["P"][[366, 367], 1], [5.0, 1.0])
    assert np.isfinite(data.target["Q"][366, 1])


def test_a_basin_without_an_attribute_is_left_out_and_reported(camels, caplog):
    write_basin(camels, "02000001", WEATHER, FLOW, attributes=None)
    write_basin(camels, "03000001", WEATHER, FLOW, attributes=";100.0")
    with caplog.at_level(logging.WARNING):
        data = read_camels(camels, attributes=NAMES)
    assert data.ids == ("01000001",)
    assert "basin 02000001 is left out: no attribute slope_mean, area_gages2" in caplog.text
    assert "basin 03000001 is left out: no attribute slope_mean in" in caplog.text


def test_areas_and_pet_are_said(camels, caplog):
    with caplog.at_level(logging.INFO):
        read_camels(camels, attributes=NAMES)
    assert "areas from area_gages2 (km2): 01000001 100.0" in caplog.text
    assert "PET by priestley-taylor" in caplog.text


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"basins": ["1000001"]}, ConfigError, "of basin '1000001'; did you mean 01000001. available:"),
        ({"forcing": "daymet"}, ConfigError, "basin_mean_forcing: has no folder daymet; available: nldas"),
        ({"attributes": ["slop_mean"]}, ConfigError, "no attribute slop_mean; did you mean slope_mean"),
    ],
)
def test_what_is_not_there_is_named(camels, options, error, said):
    with pytest.raises(error, match=said):
        read_camels(camels, **({"attributes": NAMES} | options))


def test_torn_files_are_named(camels):
    file = next(camels.glob("basin_mean_forcing/*/*/*.txt"))
    text = file.read_text()
    file.write_text(text[: text.rindex("\t")])
    with pytest.raises(ForcingError, match=f"{file.name}: not a CAMELS-US forcing file"):
        read_camels(camels, attributes=NAMES)
    file.write_text(text.replace("2000 02 29", "2000 02 27"))
    with pytest.raises(ForcingError, match="days are not in order"):
        read_camels(camels, attributes=NAMES)


def test_text_is_no_attribute_and_no_basin_left_is_an_error(tmp_path):
    write_basin(tmp_path, "01000001", WEATHER, FLOW, attributes="steep;100.0")
    with pytest.raises(AttributeTableError, match=r"line 2: slope_mean is 'steep', not a number"):
        read_camels(tmp_path, attributes=NAMES)
    write_basin(tmp_path / "b", "01000001", WEATHER, FLOW, attributes=";100.0")
    with pytest.raises(AttributeTableError, match="no basin has all of the attributes"):
        read_camels(tmp_path / "b", attributes=NAMES)


def forcing_file(root):
    return next(root.glob("basin_mean_forcing/*/*/*.txt"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("\tVp(Pa)", "", "line 4 names 10 columns, the rows have 11"),
        ("2000 02 29", "2001 02 29", "2001 2 29 is not a day of the calendar"),
        ("2000 02 29", "2000 13 01", "2000 13 1 is not a day of the calendar"),
        ("2000 02 29", "2000 02 nan", "is not a day of the calendar"),
        ("2000 03 01", "99999999999 03 01", "is not a day of the calendar"),
        (" 40.00\n", " 4000.0\n", "latitude in degrees"),
        ("Tmax(C)", "Tmax(mm)", r"column Tmax\(mm\): 'mm' cannot be converted to 'degC'.* write it in degC"),
        ("Tmax(C)", "Tmax(F)", r"column Tmax\(F\): unit 'F' can be read in two ways"),
        ("Vp(Pa)", "Vp(barye)", r"column Vp\(barye\): unit 'barye' is not understood"),
        ("Tmin(C)", "Tmax(C)", r"column Tmax\(C\) appears twice"),
        (WEATHER, "", "not a CAMELS-US forcing file"),
        (" 40.00", "\udcff", "is not UTF-8 text"),
        (" 40.00\n", "", "first three lines must be latitude, elevation and area; one is 'Year Mnth"),
        ("2000 02 29 12", "2000,02,29,12", r"line 6 has 8 values, not 11; separate them by blanks"),
        (
            "2000 02 29 12",
            "2000 02 29 Ice",
            "line 6: 'Ice' is not a number; write NaN where a value is missing",
        ),
    ],
)
def test_a_wrong_forcing_file_is_an_error_of_the_family(camels, old, new, said):
    file = forcing_file(camels)
    changed = file.read_text().replace(old, new).encode("utf-8", "surrogateescape")
    file.write_bytes(changed)
    with pytest.raises(ForcingError, match=said):
        read_camels(camels, attributes=NAMES)


@pytest.mark.parametrize("flow", ["", "ID\n", "ID 2000 02 29 x A\n", "ID 2000 02 31 1.0 A\n"])
def test_a_wrong_flow_file_is_an_error_of_the_family(camels, flow):
    next(camels.glob("usgs_streamflow/*/*.txt")).write_text(flow)
    with pytest.raises(ForcingError, match="not a CAMELS-US streamflow file"):
        read_camels(camels, attributes=NAMES)


def test_flow_of_another_gauge_than_the_file_is_named_after_is_refused(camels):
    file = next(camels.glob("usgs_streamflow/*/*.txt"))
    file.write_text(file.read_text().replace("01000001", "01000002"))
    with pytest.raises(ForcingError, match="holds the flow of gauge 01000002, its name says 01000001"):
        read_camels(camels, attributes=NAMES)


@pytest.mark.parametrize(
    ("old", "new", "series", "scale"),
    [
        ("(mm/day)", "(mm/d)", "P", 1.0),
        ("(mm/day)", "(kg m-2 d-1)", "P", 1.0),
        ("(mm/day)", "(cm/day)", "P", 10.0),
        ("Vp(Pa)", "Vp(kPa)", "VP", 1000.0),
        ("(W/m2)", "(W/m^2)", "SRAD", 1.0),
        ("(C)", "(degC)", "T", 1.0),
        ("(C)", "(c)", "T", 1.0),
    ],
)
def test_units_of_a_header_are_read_in_any_spelling_and_converted(camels, old, new, series, scale):
    """Blanks would make two columns of one."""
    before = read_camels(camels, attributes=NAMES).forcing[series]
    file = forcing_file(camels)
    file.write_text(file.read_text().replace(old, new.replace(" ", ".")))
    after = read_camels(camels, attributes=NAMES).forcing[series]
    np.testing.assert_allclose(after, scale * before, rtol=1e-12)


def test_infinite_flow_is_named_with_basin_and_date(camels):
    file = next(camels.glob("usgs_streamflow/*/*.txt"))
    file.write_text(file.read_text().replace("1000.00", "inf"))
    with pytest.raises(ForcingError, match="Q of basin 01000001 is infinite on 2000-02-29"):
        read_camels(camels, attributes=NAMES)


def test_an_area_of_nothing_is_refused(tmp_path):
    write_basin(tmp_path, "01000001", WEATHER, FLOW, attributes="0.5;0.0")
    with pytest.raises(AttributeTableError, match="basin 01000001: area_gages2 is 0 km2"):
        read_camels(tmp_path, attributes=NAMES)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("basin_mean_forcing/nldas/01", "basin_mean_forcing/nldas"),
        ("usgs_streamflow/01", "usgs_streamflow"),
        ("basin_mean_forcing/nldas", "basin_mean_forcing/NLDAS"),
        ("basin_mean_forcing", "basin_dataset_public_v1p2/basin_mean_forcing"),
        (
            "usgs_streamflow",
            "basin_timeseries_v1p2_metForcing_obsFlow/basin_dataset_public_v1p2/usgs_streamflow",
        ),
        ("camels_attributes_v2.0", "camels_attributes_v2.0/camels_attributes_v2.0"),
        ("camels_attributes_v2.0", "basin_dataset_public_v1p2/attributes"),
        ("camels_attributes_v2.0", "."),
    ],
)
def test_folders_are_found_as_downloads_and_users_leave_them(camels, old, new):
    expected = read_camels(camels, attributes=NAMES)
    files = [*(camels / old).iterdir()]
    (camels / old).rename(camels / "moved")
    (camels / new).mkdir(parents=True, exist_ok=True)
    for file in files:
        (camels / "moved" / file.name).rename(camels / new / file.name)
    (camels / "moved").rmdir()
    found = read_camels(camels, attributes=NAMES)
    assert found.ids == expected.ids
    np.testing.assert_array_equal(found.target["Q"], expected.target["Q"])
    np.testing.assert_array_equal(found.forcing["PET"], expected.forcing["PET"])


def test_what_differs_in_capital_letters_alone_is_suggested_first(camels):
    for table in camels.glob("camels_attributes_v2.0/*.txt"):
        table.write_text(table.read_text().replace(NAMES[0], NAMES[0].upper()))
    with pytest.raises(ConfigError, match=rf"no attribute {NAMES[0]}; did you mean {NAMES[0].upper()}\?"):
        read_camels(camels, attributes=NAMES)


def test_what_was_given_is_never_suggested(camels):
    forcing_file(camels).unlink()
    with pytest.raises(ConfigError, match=r"nldas: has no file <id>.*it holds 01") as refused:
        read_camels(camels, attributes=NAMES)
    assert "did you mean" not in str(refused.value)


def test_two_files_of_one_basin_are_refused(camels):
    file = forcing_file(camels)
    (file.parent.parent / file.name).write_text(file.read_text())
    with pytest.raises(ConfigError, match="are of one basin; remove one of them"):
        read_camels(camels, attributes=NAMES)


@pytest.mark.parametrize("name", ["basin_mean_forcing", "usgs_streamflow", "camels_attributes_v2.0"])
def test_a_part_that_was_not_downloaded_is_named(camels, name):
    (camels / name).rename(camels.parent / f"{camels.name}-away")
    said = "attributes camels_" if "attributes" in name else f"folder {name}"
    with pytest.raises(ConfigError, match=f"has no {said}"):
        read_camels(camels, attributes=NAMES)


# -- the real files -----------------------------------------------------------------


@pytest.fixture(scope="module")
def real(shared_data):
    return read_camels(shared_data / "camels_us")


def test_thirteen_real_basins_are_complete_and_the_fourteenth_is_left_out(shared_data, caplog):
    with caplog.at_level(logging.WARNING):
        data = read_camels(shared_data / "camels_us")
    assert len(data.ids) == 13
    assert "01022500" not in data.ids
    assert "basin 01022500 is left out: no attribute p_mean" in caplog.text
    assert len(ATTRIBUTES) == 30
    assert {*data.attributes} == {*ATTRIBUTES, "gauge_lat", "gauge_lon"}


def test_a_row_of_the_real_files_checked_by_hand(real):
    # 01333000_lump_nldas_forcing_leap.txt, line 5:
    # 1993 09 29 12  41817.60  5.09  273.63  0.00  8.72  8.72  834.45; flow of that day 25.00 cfs; 112.16 km2.
    day = int(np.flatnonzero(real.times == np.datetime64("1993-09-29"))[0])
    column = real.ids.index("01333000")
    assert real.forcing["P"][day, column] == 5.09
    assert real.forcing["T"][day, column] == 8.72
    assert real.forcing["SRAD"][day, column] == pytest.approx(273.63 * 41817.60 / 86400)
    assert real.target["Q"][day, column] == pytest.approx(25 * 0.028316846592 * 86.4 / 112.16)
    assert real.attributes["aridity"][column] == pytest.approx(0.597283085492449)


def test_flow_that_starts_late_is_aligned_by_date(real):
    column = real.ids.index("06221400")
    seen = real.times[~np.isnan(real.target["Q"][:, column])]
    assert str(seen[0])[:10] == "2002-06-30"
    assert str(seen[-1])[:10] == "2013-10-03"


def test_mean_flow_and_pet_are_near_those_that_camels_itself_gives(real):
    # CAMELS: q_mean 2.068 mm/d over other years; pet_mean by Priestley-Taylor from other forcing.
    column = real.ids.index("01333000")
    assert np.nanmean(real.target["Q"][:, column]) == pytest.approx(2.068, rel=0.05)
    mean = np.nanmean(real.forcing["PET"], axis=0)
    assert np.median(np.abs(mean / real.attributes["pet_mean"] - 1)) < 0.1


def test_the_area_of_05057200_matters_by_a_factor_of_two(shared_data, real):
    other = read_camels(shared_data / "camels_us", ["05057200"], area="forcing_header")
    column = real.ids.index("05057200")
    ratio = np.nanmean(other.target["Q"]) / np.nanmean(real.target["Q"][:, column])
    assert ratio == pytest.approx(1897.33e6 / 908.7e6, rel=0.01)


# -- as other products and archives have it ---------------------------------------------

LOWER = HEADER.replace("Dayl", "dayl").replace("PRCP", "prcp").replace("SRAD", "srad").replace("SWE", "swe")
LOWER = LOWER.replace("Tmax", "tmax").replace("Tmin", "tmin").replace("Vp", "vp")


@pytest.mark.parametrize("header", [LOWER, HEADER.upper(), HEADER.replace("(mm/day)", "").replace("(C)", "")])
def test_columns_are_known_in_any_case_and_without_their_units(camels, header):
    before = read_camels(camels, attributes=NAMES)
    (file,) = camels.rglob("*_forcing_leap.txt")
    file.write_text(file.read_text().replace(HEADER, header))
    after = read_camels(camels, attributes=NAMES)
    for name, values in before.forcing.items():
        np.testing.assert_array_equal(after.forcing[name], values)


def test_a_column_that_is_lacking_is_named_with_those_there_are(camels):
    (file,) = camels.rglob("*_forcing_leap.txt")
    file.write_text(file.read_text().replace("Tmax(C)", "Tmean(C)"))
    with pytest.raises(ForcingError, match=r"_leap\.txt: has no column tmax; it has Year .*Tmean\(C\)"):
        read_camels(camels, attributes=NAMES)


@pytest.mark.parametrize("mark", ["NA", "", "null", "-9999", "-999.0", "1e20"])
def test_an_attribute_that_is_not_known_is_missing_and_its_basin_left_out(camels, caplog, mark):
    write_basin(camels, "02000001", WEATHER, FLOW, attributes=f"{mark};100.0")
    with caplog.at_level(logging.WARNING):
        data = read_camels(camels, attributes=NAMES)
    assert data.ids == ("01000001",)
    assert "basin 02000001 is left out: no attribute slope_mean in" in caplog.text


def test_an_attribute_may_have_another_name_than_its_column(camels):
    data = read_camels(camels, attributes={"slope": "slope_mean", "upstream_area": "area_gages2"})
    assert {name: values.tolist() for name, values in data.attributes.items()} == {
        "slope": [0.5],
        "upstream_area": [100.0],
    }
    assert data.units["slope"] == ATTRIBUTES["slope_mean"]
    with pytest.raises(ConfigError, match="no attribute slop_mean; did you mean slope_mean"):
        read_camels(camels, attributes={"slope": "slop_mean"})


def test_the_official_daymet_files_are_read(shared_data):
    root = shared_data / "camels_us_daymet"
    if not root.is_dir():
        pytest.skip("the real data is not there")
    data = read_camels(root, forcing="daymet", pet="hargreaves")
    assert len(data.ids) == 83
    assert 2.0 < np.nanmean(data.forcing["P"]) < 5.0
    assert (data.forcing["PET"] > 0).any()


def test_official_daymet_files_are_read_and_near_what_camels_itself_gives(shared_data):
    # CAMELS' p_mean is of Daymet over 1989 to 2009.
    data = read_camels(shared_data / "camels_us_daymet", ["01333000", "01568000"], forcing="daymet")
    assert data.ids == ("01333000", "01568000")
    np.testing.assert_allclose(np.nanmean(data.forcing["P"], axis=0), data.attributes["p_mean"], rtol=0.05)


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("vege", "dom_land_cover"),
        ("geol", "geol_1st_class"),
        ("geol", "geol_2nd_class"),
        ("clim", "high_prec_timing"),
        ("clim", "low_prec_timing"),
    ],
)
def test_classes_are_numbered_as_those_of_all_671_basins_sorted(shared_data, table, column):
    # hydroDL and dmg: pandas.factorize(column, sort=True) over the whole table.
    root = shared_data / "camels_us_daymet"
    lines = (root / "camels_attributes_v2.0" / f"camels_{table}.txt").read_text().splitlines()
    place = lines[0].split(";").index(column)
    texts = {line.split(";")[0]: line.split(";")[place] for line in lines[1:]}
    assert len(texts) == 671
    numbers = {text: k for k, text in enumerate(sorted({*texts.values()} - {"NA"}))}
    data = read_camels(root, attributes=[column], forcing="daymet")
    there = {file.name.split("_")[0] for file in root.glob("basin_mean_forcing/daymet/*/*.txt")}
    assert len(there) == 83
    assert {*data.ids} == {basin for basin in there if texts[basin] != "NA"}
    assert dict(zip(data.ids, data.attributes[column], strict=True)) == {
        basin: numbers[texts[basin]] for basin in data.ids
    }


def test_an_empty_list_of_basins_is_named(camels):
    with pytest.raises(ConfigError, match=r"data\.basins is an empty list"):
        CamelsData(path=camels, basins=(), attributes=NAMES).read()


def test_a_class_that_camels_does_not_have_is_named(camels):
    topography = camels / "camels_attributes_v2.0" / "camels_vege.txt"
    topography.write_text("gauge_id;dom_land_cover\n01000001;    Mixed Forests\n")
    assert read_camels(camels, attributes=["dom_land_cover"]).attributes["dom_land_cover"] == [7.0]
    topography.write_text("gauge_id;dom_land_cover\n01000001;Desert\n")
    with pytest.raises(AttributeTableError, match="line 2: dom_land_cover is 'Desert'; write one of Barren"):
        read_camels(camels, attributes=["dom_land_cover"])


@pytest.mark.parametrize("mark", ["-9999.00", "-999.00", "nan"])
@pytest.mark.parametrize("forcing", ["nldas", "daymet", "maurer"])
def test_a_mark_of_missing_values_is_missing_in_every_product(tmp_path, forcing, mark, caplog):
    """In the layouts as they are published: those of Daymet have lower-case names."""
    write_basin(tmp_path, "01000001", WEATHER.replace("\t0.00\t300.00", f"\t{mark}\t300.00"), FLOW)
    (file,) = tmp_path.glob("basin_mean_forcing/nldas/01/*.txt")
    kind = {"nldas": "nldas", "daymet": "cida", "maurer": "maurer"}[forcing]
    folder = tmp_path / "basin_mean_forcing" / forcing / "01"
    folder.mkdir(parents=True, exist_ok=True)
    text = file.read_text().replace(HEADER, HEADER if forcing == "nldas" else LOWER)
    (folder / f"01000001_lump_{kind}_forcing_leap.txt").write_text(text)
    data = read_camels(tmp_path, attributes=NAMES, forcing=forcing)
    np.testing.assert_array_equal(data.forcing["P"][:, 0], [5.0, np.nan, 1.0])
    np.testing.assert_array_equal(data.forcing["T"][:, 0], [6.0, 8.0, 10.0])
    said = [r.getMessage() for r in caplog.records if "taken as missing" in r.getMessage()]
    assert len(said) == (mark != "nan")
    assert all("1 values are" in line and "01000001" in line and "prcp" in line.lower() for line in said)


LOWER = "Year Mnth Day Hr dayl(s) prcp(mm/day) srad(W/m2) swe(mm) tmax(C) tmin(C) vp(Pa)\n"


def test_a_day_without_weather_has_no_pet_and_is_refused_or_filled(tmp_path):
    write_basin(tmp_path, "01000001", WEATHER.replace("12.00\t4.00", "-9999.00\t-9999.00"), FLOW)
    for method in ("priestley_taylor", "oudin", "hargreaves"):
        data = read_camels(tmp_path, attributes=NAMES, pet=method)
        assert np.isnan(data.forcing["PET"][:, 0]).tolist() == [False, True, False]
    about = CamelsData(path=tmp_path, attributes=NAMES, missing_forcing="interpolate")
    filled = about.read()
    np.testing.assert_array_equal(filled.forcing["T"][:, 0], [6.0, 8.0, 10.0])
