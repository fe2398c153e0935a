"""Readers of the national CAMELS data sets, on small files in the layouts of their releases."""

from dataclasses import dataclass

import numpy as np
import pytest

from dmg_bmi.errors import AttributeTableError, ConfigError, ForcingError
from dmg_bmi.io.typed_yaml import from_mapping
from dmg_bmi.training import TrainingConfig, calibrate
from dmg_bmi.training.readers.base import DataConfig

DAYS = np.arange("2000-02-26", "2000-03-04", dtype="datetime64[D]")
#: Two basins by reader: numbers with and without leading zeros or letters.
IDS = {
    "camels_gb": ("10002", "97002"),
    "camels_de": ("DE110000", "DEG10650"),
    "camels_ch": ("2004", "6007"),
    "camels_br": ("10500000", "00123456"),
    "camels_aus": ("912101A", "G0050115"),
    "camels_cl": ("1001001", "12930001"),
}
CLIMATE = ("p_mean", "pet_mean", "aridity", "p_seasonality", "frac_snow", "high_prec_freq", "high_prec_dur")
CLIMATE += ("low_prec_freq", "low_prec_dur")


def truth(name, basin):
    """Series of a basin, different for each."""
    k = next(ids.index(basin) for ids in IDS.values() if basin in ids)
    base = {"P": 1.0, "T": -3.0, "PET": 2.0, "Q": 0.5, "tmin": -8.0, "tmax": 2.0}[name]
    return base + np.arange(len(DAYS)) + 100.0 * k


def lines(delimiter, header, rows):
    return "\n".join(delimiter.join(map(str, row)) for row in [header, *rows]) + "\n"


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)


def table(ids, names, key="gauge_id", delimiter=",", first=0.0):
    rows = [[basin, *(first + k + i / 10 for i in range(len(names)))] for k, basin in enumerate(ids)]
    return lines(delimiter, [key, *names], rows)


def wide(name, ids, date, delimiter=",", quote=""):
    """A table of a variable with a column for each basin."""
    series = [truth(name, basin) for basin in ids]
    rows = [[*date(day), *(of[k] for of in series)] for k, day in enumerate(DAYS)]
    head = [*(["year", "month", "day"] if len(rows[0]) > len(ids) + 1 else ["date"]), *ids]
    return lines(delimiter, [f"{quote}{cell}{quote}" for cell in head], rows)


def parts(day):
    return str(day).split("-")


def gb(root):
    for basin in IDS["camels_gb"]:
        header = [
            "date",
            "precipitation",
            "pet",
            "temperature",
            "discharge_spec",
            "discharge_vol",
            "peti",
            "q",
        ]
        series = [truth(name, basin) for name in ("P", "PET", "T", "Q")]
        rows = [[day, *(of[k] for of in series), 9, series[1][k] + 1, "NaN"] for k, day in enumerate(DAYS)]
        file = root / "data" / "timeseries" / f"CAMELS_GB_hydromet_timeseries_{basin}_20000226-20000303.csv"
        write(file, lines(",", header, rows))
    land = ("dwood_perc", "ewood_perc", "grass_perc", "crop_perc", "urban_perc")
    soil = ("sand_perc", "silt_perc", "clay_perc")
    for kind, names in (
        ("climatic", CLIMATE),
        ("topographic", ("gauge_lat", "gauge_lon", "area", "elev_mean", "dpsbar")),
        ("landcover", land),
        ("soil", soil),
    ):
        write(root / "data" / f"CAMELS_GB_{kind}_attributes.csv", table(IDS["camels_gb"], names))


def de(root):
    for basin in IDS["camels_de"]:
        header = ["date", "discharge_vol_obs", "discharge_spec_obs", "precipitation_mean", "temperature_mean"]
        series = [truth(name, basin) for name in ("Q", "P", "T")]
        rows = [[day, 9, *(of[k] for of in series)] for k, day in enumerate(DAYS)]
        write(root / "timeseries" / f"CAMELS_DE_hydromet_timeseries_{basin}.csv", lines(",", header, rows))
        rows = [[day, truth("PET", basin)[k]] for k, day in enumerate(DAYS)]
        file = root / "timeseries_simulated" / f"CAMELS_DE_discharge_sim_{basin}.csv"
        write(file, lines(",", ["date", "pet_hargreaves"], rows))
    climate = [name for name in CLIMATE if name not in ("pet_mean", "aridity")]
    write(root / "CAMELS_DE_climatic_attributes.csv", table(IDS["camels_de"], climate))
    write(root / "CAMELS_DE_topographic_attributes.csv", table(IDS["camels_de"], ("area", "elev_mean")))


def ch(root, delimiter=",", degree="deg", folder="timeseries"):
    for basin in IDS["camels_ch"]:
        header = [
            "date",
            "discharge_vol(m3/s)",
            "discharge_spec(mm/d)",
            "waterlevel(m)",
            "precipitation(mm/d)",
        ]
        header += [f"temperature_mean({degree}C)", "swe(mm)"]
        q, p, t = (truth(name, basin) for name in ("Q", "P", "T"))
        rows = [[day, 9, q[k], "NaN", p[k], t[k], "NaN"] for k, day in enumerate(DAYS)]
        file = root / folder / "observation_based" / f"CAMELS_CH_obs_based_{basin}.csv"
        write(file, lines(delimiter, header, rows))
        rows = [[day, truth("PET", basin)[k]] for k, day in enumerate(DAYS)]
        file = root / folder / "simulation_based" / f"CAMELS_CH_sim_based_{basin}.csv"
        write(file, lines(delimiter, ["date", "pet_sim(mm/d)"], rows))
    static = root / "static_attributes"
    climate = table(IDS["camels_ch"], CLIMATE, delimiter=delimiter)
    write(static / "CAMELS_CH_climate_attributes_obs.csv", f"# of RhiresD, TabsD\n{climate}")
    write(static / "CAMELS_CH_climate_attributes_sim.csv", table(IDS["camels_ch"], CLIMATE, first=50.0))
    names = ("gauge_name", "gauge_lat", "gauge_lon", "area", "elev_mean")
    rows = [[basin, "Zürich", 47, 8, k, k + 0.1] for k, basin in enumerate(IDS["camels_ch"])]
    text = "# Höhe in m\n" + lines(delimiter, ["gauge_id", *names], rows)
    write(static / "CAMELS_CH_topographic_attributes.csv", text, "latin-1")


def br(root):
    for number, name, variable in (
        ("03", "Q", "streamflow_mm"),
        ("05", "P", "precipitation_chirps"),
        ("06", "P", "precipitation_mswep"),
        ("10", "PET", "potential_evapotransp_gleam"),
        ("12", "T", "temperature_mean_cpc"),
    ):
        folder = f"{number}_CAMELS_BR_{variable}" + ("_selected_catchments" if name == "Q" else "")
        for basin in IDS["camels_br"]:
            values = truth(name, basin) + (variable == "precipitation_mswep")
            rows = [[*(int(part) for part in parts(day)), values[k]] for k, day in enumerate(DAYS)]
            text = lines(" ", ["year", "month", "day", variable], rows)
            write(root / folder / folder / f"{basin}_{variable}.txt", text)
    attributes = root / "01_CAMELS_BR_attributes" / "01_CAMELS_BR_attributes"
    write(attributes / "camels_br_climate.txt", table(IDS["camels_br"], CLIMATE, delimiter=" "))
    rows = [[b, '"RIO NEGRO"', k, k + 0.1, k + 0.2] for k, b in enumerate(IDS["camels_br"])]
    header = ["gauge_id", "gauge_name", "area", "elev_mean", "slope_mean"]
    write(attributes / "camels_br_topography.txt", lines(" ", header, rows))


def aus(root):
    ids, weather = IDS["camels_aus"], root / "05_hydrometeorology" / "05_hydrometeorology"
    for folder, name, file in (
        ("01_precipitation_timeseries", "P", "precipitation_SILO"),
        ("02_EvaporativeDemand_timeseries", "PET", "et_morton_wet_SILO"),
        ("03_Other/SILO", "tmin", "tmin_SILO"),
        ("03_Other/SILO", "tmax", "tmax_SILO"),
    ):
        write(weather / folder / f"{file}.csv", wide(name, ids, parts))
    write(root / "03_streamflow" / "streamflow_mmd.csv", wide("Q", ids, parts))
    names = (*CLIMATE, "catchment_area", "elev_mean", "lat_outlet", "long_outlet")
    write(root / "CAMELS_AUS_Attributes&Indices_MasterTable.csv", table(ids, names, "station_id"))


CL = {"Q": "q_mm", "P": "precip_cr2met_mm", "T": "tmean_cr2met_C", "PET": "pet_hargreaves_mm"}
CL_NAMES = ("area", "elev_mean", "slope_mean", "p_mean_cr2met", "pet_mean", "aridity_cr2met")
CL_NAMES += ("p_seasonality_cr2met", "frac_snow_cr2met", "high_prec_freq_cr2met", "low_prec_freq_cr2met")


def cl(root):
    for name, file in CL.items():
        text = wide(name, IDS["camels_cl"], lambda day: [day])
        write(root / "CAMELS_CL_v202201" / f"{file}_day.csv", text)
    write(root / "CAMELS_CL_v202201" / "catchment_attributes.csv", table(IDS["camels_cl"], CL_NAMES))


def cl_2018(root):
    old = {
        "Q": "3_CAMELScl_streamflow_mm",
        "P": "4_CAMELScl_precip_cr2met",
        "T": "10_CAMELScl_tmean_cr2met",
        "PET": "12_CAMELScl_pet_hargreaves",
    }
    for name, file in old.items():
        text = wide(name, IDS["camels_cl"], lambda day: [f'"{day}"'], "\t", '"').replace(
            '"date"', '"gauge_id"'
        )
        write(root / file / f"{file}.txt", text)
    rows = [['"gauge_name"', '"Rio A"', '"Rio B"']]
    rows += [[f'"{n}"', f'"{i / 10}"', f'"{1 + i / 10}"'] for i, n in enumerate(CL_NAMES)]
    text = lines("\t", ['"gauge_id"', *(f'"{basin}"' for basin in IDS["camels_cl"])], rows)
    write(root / "1_CAMELScl_attributes" / "1_CAMELScl_attributes.txt", text)


@dataclass(frozen=True)
class Case:
    name: str
    reader: str
    write: object


CASES = [
    Case("GB", "camels_gb", gb),
    Case("DE", "camels_de", de),
    Case("CH", "camels_ch", ch),
    Case("CH, semicolons", "camels_ch", lambda root: ch(root, ";", "°", "time_series")),
    Case("BR", "camels_br", br),
    Case("AUS", "camels_aus", aus),
    Case("CL", "camels_cl", cl),
    Case("CL, 2018", "camels_cl", cl_2018),
]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request, tmp_path):
    request.param.write(tmp_path)
    return request.param


def read(reader, path, **more):
    return from_mapping(DataConfig, {"reader": reader, "path": str(path), **more}, "test").read()


def test_every_basin_has_its_own_series_on_its_own_days(case, tmp_path):
    dataset = read(case.reader, tmp_path)
    assert sorted(dataset.ids) == sorted(IDS[case.reader])
    assert (dataset.times == DAYS.astype("datetime64[s]")).all()
    for column, basin in enumerate(dataset.ids):
        for name in ("P", "T", "PET"):
            assert dataset.forcing[name][:, column] == pytest.approx(truth(name, basin)), (name, basin)
        assert dataset.target["Q"][:, column] == pytest.approx(truth("Q", basin))
    assert [dataset.units[name] for name in ("P", "T", "PET", "Q")] == ["mm", "degC", "mm", "mm"]


def test_every_basin_has_its_own_attributes(case, tmp_path):
    dataset = read(case.reader, tmp_path)
    area = "catchment_area" if case.reader == "camels_aus" else "area"
    first = IDS[case.reader].index(dataset.ids[0])
    assert dataset.attributes[area][0] != dataset.attributes[area][1]
    assert np.floor(dataset.attributes[area]).tolist() == [first, 1 - first]
    assert all(np.isfinite(values).all() for values in dataset.attributes.values())


def test_basins_of_choice_are_read_in_their_order(case, tmp_path):
    ids = [*reversed(IDS[case.reader])]
    assert read(case.reader, tmp_path, basins=ids).ids == tuple(ids)
    with pytest.raises(ConfigError, match="no series of basin 'nowhere'"):
        read(case.reader, tmp_path, basins=["nowhere"])


def test_a_folder_without_the_data_says_what_is_missing(case, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"has no .*; give the folder of CAMELS-\w+ as data\.path"):
        read(case.reader, tmp_path / "empty")


def test_an_attribute_that_is_not_there_is_named(case, tmp_path):
    with pytest.raises(ConfigError, match="no attribute hight"):
        read(case.reader, tmp_path, attributes=["hight"])


def flow_file(case, root):
    pattern = {
        "camels_gb": "CAMELS_GB_hydromet_timeseries_10002_*.csv",
        "camels_de": "CAMELS_DE_hydromet_timeseries_DE110000.csv",
        "camels_ch": "CAMELS_CH_obs_based_2004.csv",
        "camels_br": "10500000_streamflow_mm.txt",
        "camels_aus": "streamflow_mmd.csv",
        "camels_cl": "*q_mm_day.csv",
    }[case.reader]
    return next(iter([*root.rglob(pattern), *root.rglob("3_CAMELScl_streamflow_mm.txt")]))


def changed(file, change):
    text = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join(change(text)) + "\n", encoding="utf-8")


def test_flow_below_zero_is_missing(case, tmp_path):
    value = f"{truth('Q', IDS[case.reader][0])[3]}"
    changed(
        flow_file(case, tmp_path),
        lambda text: [*text[:4], text[4].replace(value, "-99.99", 1), *text[5:]],
    )
    dataset = read(case.reader, tmp_path)
    column = dataset.ids.index(IDS[case.reader][0])
    assert np.isnan(dataset.target["Q"][:, column]).tolist() == [False] * 3 + [True] + [False] * 3


@pytest.mark.parametrize("blank", ["", "NA", "NaN", "nan"])
def test_missing_cells_are_missing(blank, case, tmp_path):
    if not blank and case.reader == "camels_br":
        pytest.skip("blanks separate the cells")
    value = f"{truth('Q', IDS[case.reader][0])[2]}"
    changed(flow_file(case, tmp_path), lambda t: [*t[:3], t[3].replace(value, blank, 1), *t[4:]])
    dataset = read(case.reader, tmp_path)
    assert np.isnan(dataset.target["Q"][2, dataset.ids.index(IDS[case.reader][0])])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: [*text[:3], text[3].replace(".5", ".5x"), *text[4:]], r"line 4: .*x"),
        (lambda text: [*text[:3], text[3][: len(text[3]) // 4], *text[4:]], "line [45]"),
        (lambda text: [text[0], text[3], *text[1:]], "not in order"),
        (lambda text: text[:1], "has no rows"),
        (lambda text: [text[0].replace("a", "b").replace("e", "f"), *text[1:]], "has no column"),
        (lambda text: [text[0], *(row.replace("2000", "20x0") for row in text[1:])], "line 2"),
    ],
    ids=["text", "short", "disorder", "empty", "columns", "dates"],
)
def test_a_torn_file_is_named_with_its_line(change, message, case, tmp_path):
    file = flow_file(case, tmp_path)
    changed(file, change)
    with pytest.raises((ForcingError, ConfigError), match=message) as caught:
        read(case.reader, tmp_path)
    assert file.name in str(caught.value) or "basin" in str(caught.value)


def test_a_table_without_the_basins_says_so(case, tmp_path):
    for file in [*tmp_path.rglob("*ttributes*"), *tmp_path.rglob("camels_br_*.txt")]:
        if file.is_file():
            encoding = "latin-1" if "topographic" in file.name else "utf-8"
            text = file.read_text(encoding=encoding)
            for k, basin in enumerate(IDS[case.reader]):
                text = text.replace(basin, f"other{k}")
            file.write_text(text, encoding=encoding)
    with pytest.raises(AttributeTableError, match="has none of the basins"):
        read(case.reader, tmp_path)


def test_options_choose_other_columns(tmp_path):
    gb(tmp_path / "gb")
    basin = IDS["camels_gb"][0]
    other = read("camels_gb", tmp_path / "gb", pet="peti", basins=[basin]).forcing["PET"][:, 0]
    assert other == pytest.approx(truth("PET", basin) + 1)
    br(tmp_path / "br")
    basin = IDS["camels_br"][0]
    other = read("camels_br", tmp_path / "br", precipitation="mswep", basins=[basin]).forcing["P"][:, 0]
    assert other == pytest.approx(truth("P", basin) + 1)


def test_files_of_other_lengths_are_aligned_by_date(tmp_path):
    de(tmp_path)
    changed(flow_file(CASES[1], tmp_path), lambda text: [text[0], *text[3:]])
    dataset = read("camels_de", tmp_path)
    column = dataset.ids.index("DE110000")
    assert len(dataset.times) == len(DAYS)
    assert np.isnan(dataset.target["Q"][:, column]).tolist() == [True] * 2 + [False] * 5
    assert dataset.forcing["PET"][:, column] == pytest.approx(truth("PET", "DE110000"))


def test_one_of_them_is_calibrated(tmp_path):
    cl(tmp_path / "data")
    config = TrainingConfig.read(
        "calibrate",
        [
            f"data={{reader: camels_cl, path: {tmp_path / 'data'}, basins: ['1001001']}}",
            "periods={train: [2000-02-26, 2000-03-01], test: [2000-03-02, 2000-03-03], spin_up: 1}",
            "training.seq_length=4",
            "training.max_steps=1",
            "training.engine=eager",
        ],
    )
    assert calibrate(config, tmp_path / "run").scores["train"].ids == ("1001001",)
