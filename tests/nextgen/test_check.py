"""Every mistake that `ngen` passes over, or dies of, is found before a run and says what to change.

Section numbers are those of the notes on what ngen does: 1 process, 2 life of an object, 3 set_value, 6
time, 7 model_params, 8 units, 9 mass balance, 12 names and forcing, 13 outputs, 14 layers, 15 cache.
"""

import csv
import json
import re
import shutil
import sqlite3

import numpy as np
import pytest
import yaml

from dmg_bmi.errors import NextGenError
from dmg_bmi.nextgen.check.realization import check

RUNOFF = "land_surface_water__runoff_depth"
ET = "land_surface_water__evapotranspiration_depth"
FLOW = "land_surface_water_source__volume_flow_rate"
P = "atmosphere_water__liquid_equivalent_precipitation_rate"


def module(document):
    return document["global"]["formulations"][0]["params"]


def with_params(**keys):
    return lambda document: module(document).update(keys)


def with_balance(**keys):
    return lambda document: module(document)["mass_balance"].update(keys)


def with_time(**keys):
    return lambda document: document["time"].update(keys)


def found(folder, level="error"):
    (fabric,) = (folder / "config").glob("*.gpkg")
    findings = check(folder / "config" / "realization.json", fabric)
    return [str(f) for f in findings if f.level == level]


def test_what_prepare_writes_is_clean(prepared):
    for multi in (False, True):
        folder = prepared(f"clean-{multi}", multi=multi)
        assert found(folder) == []
        assert found(folder) == []  # and a check leaves nothing behind


#: What is changed in the realization; what is said of it.
STOPS = {
    # 1, 2
    "1 python_type without a module": (
        with_params(python_type="DeltaModelBmi"),
        "no module; write dmg_bmi.DeltaModelBmi",
    ),
    "1 module_path": (with_params(module_path="./nowhere"), "module_path: ./nowhere is not a folder"),
    "2 init_config": (with_params(init_config="./config/{{id}}.yml"), "no such files.*cat-11223"),
    # 6
    "6 output_interval of a day": (with_time(output_interval=86400), "output_interval: 86400.*write 3600"),
    "6 start with a T": (
        with_time(start_time="2015-12-01T00:00:00"),
        "must be written like 2015-12-01 00:00:00",
    ),
    "6 start with a zone": (
        with_time(start_time="2015-12-01 00:00:00-06:00"),
        "must be written like 2015-12-01 00:00:00",
    ),
    "6 a day that no month has": (
        with_time(end_time="2015-11-31 00:00:00"),
        r"time.end_time: the date '2015-11-31 00:00:00' is not understood",
    ),
    "6 no date": (with_time(end_time="soon"), "'soon' must be written like"),
    "6 end before start": (with_time(end_time="2015-11-01 00:00:00"), "is before start_time"),
    "6 calendar": (
        with_time(start_time="2015-12-01 01:00:00"),
        "start_time .* is not that of the realization",
    ),
    # 7
    "7 unknown parameter": (
        with_params(model_params={"FC": 1.0}),
        "model_params.FC: no such variable",
    ),
    "7 text": (with_params(model_params={"phy.SM": "wet"}), "'wet' is not a number"),
    "7 boolean": (with_params(model_params={"phy.SM": True}), "True is not a number"),
    "7 null": (with_params(model_params={"phy.SM": None}), "None is not a number"),
    "7 too short": (
        with_params(model_params={"phy.SM": 5.0}),
        "has 1 numbers, phy.SM has 2.*arbitrary memory",
    ),
    "7 too long": (with_params(model_params={"phy.SM": [1, 2, 3]}), "has 3 numbers, phy.SM has 2"),
    "7 NaN": (with_params(model_params={"phy.SM": ["NaN", 1.0]}), "nan is not a plausible value"),
    "7 an input": (with_params(model_params={P: 1.0}), "is an input"),
    "7 another source": (
        with_params(model_params={"phy.SUZ": {"source": "csv"}}),
        "'csv' is unknown and ends ngen",
    ),
    "7 a column that is not there": (
        with_params(model_params={"phy.SUZ": {"source": "hydrofabric", "from": "twi"}}),
        "no column twi .*silently",
    ),
    "7 a column without numbers": (
        with_params(model_params={"phy.SUZ": {"source": "hydrofabric", "from": "ds_id"}}),
        "ds_id is not a number.*cat-11223",
    ),
    "7 empty names map": (
        with_params(variables_names_map={}),
        "variables_names_map: an empty object ends ngen",
    ),
    "7 empty mass_balance": (with_params(mass_balance={}), "mass_balance: an empty object"),
    "7 empty model_params": (with_params(model_params={}), "model_params: an empty object"),
    # 8
    "8 an amount for a rate": (
        with_params(variables_names_map={P: "PRES_surface"}),
        "units 'Pa' cannot become 'mm d-1'",
    ),
    "8 a temperature for rain": (
        with_params(variables_names_map={P: "TMP_2maboveground"}),
        "units 'K' cannot become 'mm d-1'",
    ),
    # 9
    "9 the tolerance by default": (with_params(mass_balance={"check": True}), "tolerance must be given"),
    "9 only at the end": (with_balance(frequency=-1), "negative frequency never checks"),
    "9 switched off": (with_balance(frequency=0), "frequency 0 switches"),
    # 12
    "12 uses_forcing_file": (with_params(uses_forcing_file=True), "uses_forcing_file.*ends ngen"),
    "12 forcing_file": (with_params(forcing_file="a.csv"), "uses_forcing_file.*ends ngen"),
    "12 an alias of nothing": (
        with_params(variables_names_map={"rain": "precip_rate"}),
        "rain: neither inputs nor outputs",
    ),
    "12 an alias to nothing": (
        with_params(variables_names_map={P: "rain"}),
        "nothing provides rain, which ends ngen",
    ),
    "12 no provider": (
        lambda d: d["global"].update(forcing={"provider": "NullForcingProvider"}),
        "nothing provides",
    ),
    "12 the wrong provider": (
        lambda d: d["global"]["forcing"].update(provider="CsvPerFeature"),
        "CsvPerFeature does not read",
    ),
    "12 no path": (lambda d: d["global"]["forcing"].pop("path"), "forcing.path: is missing"),
    "12 no file": (lambda d: d["global"]["forcing"].update(path="./no.nc"), "no such forcing"),
    "12 the forcing starts later": (
        with_time(start_time="2015-11-30 00:00:00"),
        "begins 2015-12-01.*after the run's start",
    ),
    "12 the forcing ends earlier": (
        with_time(end_time="2015-12-31 00:00:00"),
        "asks for a record of 2015-12-31T00:00:00",
    ),
    # 13
    "13 a flow as depth": (
        with_params(main_output_variable=FLOW),
        f"{FLOW} is in m3 s-1, and ngen would take .* metres",
    ),
    "13 no output": (with_params(main_output_variable="Q_OUT"), f"Q_OUT is not an output; .*{RUNOFF}"),
    "13 an unpublished column": (
        with_params(output_variables=[RUNOFF, "phy.SM"]),
        "phy.SM: not published outputs",
    ),
    "13 an input as column": (with_params(output_variables=[P]), f"{P}: not published outputs"),
    # 14
    "13 output_root beside an output block": (
        lambda d: d["output"].pop("root"),
        "output_root: is ignored where there is an output block",
    ),
    "14 layer 0 again": (
        lambda d: d.update(layers=[{"id": 0, "time_step": 3600}]),
        "layer 0 exists already",
    ),
    "14 a daily layer": (
        lambda d: d.update(layers=[{"id": 1, "time_step": 86400}]),
        "gives its step to the surface",
    ),
    "14 a domain": (
        lambda d: d.update(layers=[{"id": 1, "domain": "catchments"}]),
        "reaches no catchment and no nexus",
    ),
    "no formulation": (lambda d: d["global"].update(formulations=[]), "formulations: is missing"),
}


@pytest.mark.parametrize("name", STOPS)
def test_a_mistake_in_the_realization_is_found(prepared, change, name):
    edit, message = STOPS[name]
    folder = prepared()
    change(folder, edit)
    stops = found(folder)
    assert any(re.search(message, text) for text in stops), stops


def test_all_mistakes_of_a_realization_are_found_at_once(prepared, change):
    folder = prepared()

    def edit(document):
        document["time"]["output_interval"] = 86400
        module(document)["main_output_variable"] = FLOW
        module(document)["model_params"] = {"FC": 1.0}

    change(folder, edit)
    assert len(found(folder)) == 3


NOTES = {
    "6 fixed_time_step": (with_params(fixed_time_step=True), "fixed_time_step: has no effect"),
    "13 output_precision": (with_params(output_precision=9), "has no effect .output.precision"),
    "13 headers": (with_params(output_header_fields=["a", "b"]), "2 for 1 output_variables"),
    "15 cache": (lambda d: module(d).pop("cache_input_variable_metadata"), "saves half of the calls"),
    "9 check is false": (with_balance(check=False), "nothing is checked"),
    "other catchments": (
        lambda d: d.update(catchments={"cat-1": {"formulations": []}}),
        "not in the hydrofabric .cat-1",
    ),
}


@pytest.mark.parametrize("name", NOTES)
def test_what_has_no_effect_is_noted(prepared, change, name):
    edit, message = NOTES[name]
    folder = prepared()
    change(folder, edit)
    assert found(folder) == []
    assert any(re.search(message, text) for text in found(folder, "warning"))


# -- several modules ------------------------------------------------------------------


def test_9_a_balance_check_above_the_modules_is_ignored_by_ngen(prepared, change):
    folder = prepared(multi=True)
    change(folder, with_params(mass_balance={"tolerance": 1e-6}))
    assert "ignored at the level of bmi_multi" in found(folder)[0]


@pytest.mark.parametrize("alias", ["precip_rate", P, "TMP_2maboveground"])
def test_12_an_output_must_not_be_called_like_a_forcing(prepared, change, alias):
    folder = prepared(multi=True)
    change(folder, lambda d: module(d)["modules"][0]["params"].update(variables_names_map={RUNOFF: alias}))
    assert any("is the name of a forcing" in text for text in found(folder))


def test_12_modules_must_not_share_output_names(prepared, change, ngen):
    folder = prepared(multi=True)
    change(folder, lambda d: module(d)["modules"].append(module(d)["modules"][0]))
    assert any("another module's output" in text for text in found(folder))
    assert ngen(folder).status == 134


def test_a_module_of_another_package_may_provide_what_is_missing(prepared, change, bundle):
    folder = prepared(multi=True)
    foreign = {
        "name": "bmi_c",
        "params": {"name": "bmi_c", "init_config": "x", "main_output_variable": "PET"},
    }
    change(folder, lambda d: module(d)["modules"].insert(0, foreign))
    shared = folder / "config" / "cat_config" / "DMG_BMI" / "shared.yaml"
    content = yaml.safe_load(shared.read_text())
    del content["pet"]
    shared.write_text(yaml.safe_dump(content))
    assert found(folder) == []


# -- the shared configuration ---------------------------------------------------------

SHARED = {
    "6 the model's own step": (lambda c: c.pop("time_step"), "write time_step: 3600"),
    "6 an end before the last step": (
        lambda c: c.update(end_time="2015-12-03T23:00:00"),
        "end_time is before the end",
    ),
    "12 no PET": (lambda c: c.pop("pet"), r"potential_evaporation.*pet: \{method"),
    "an unknown key": (lambda c: c.update(tmie_step=1), "tmie_step.*time_step"),
    "7 a restart and states": (
        lambda c: c.update(restart={"read": "{id}.state"}),
        "cat-11223.state: cannot be read",
    ),
}


@pytest.mark.parametrize("name", SHARED)
def test_a_mistake_in_the_shared_configuration_is_found(prepared, name):
    edit, message = SHARED[name]
    folder = prepared()
    path = folder / "config" / "cat_config" / "DMG_BMI" / "shared.yaml"
    content = yaml.safe_load(path.read_text())
    edit(content)
    path.write_text(yaml.safe_dump(content))
    stops = found(folder)
    assert any(re.search(message, text) for text in stops), stops


def test_7_a_state_that_model_params_set_replaces_a_restart(prepared, ngen):
    folder = prepared(save_every=24.0)
    assert ngen(folder).status == 0
    with pytest.raises(ValueError, match="replaces its value"):
        prepared(
            "again",
            start=np.datetime64("2015-12-03"),
            restart=True,
            before=lambda root: shutil.copytree(folder / "outputs" / "states", root / "outputs" / "states"),
        )


def test_2_a_catchment_without_a_configuration_is_named(prepared):
    folder = prepared()
    (folder / "config" / "cat_config" / "DMG_BMI" / "cat-11224.yml").unlink()
    assert "[cat-11224]" in found(folder)[0]


def test_a_catchment_that_the_table_lacks_is_named(prepared):
    folder = prepared()
    table = folder / "config" / "cat_config" / "DMG_BMI" / "catchments.csv"
    table.write_text("".join(line for line in table.open() if "cat-11371" not in line))
    assert any("not in the table of catchments [cat-11371]" in text for text in found(folder))


def test_without_a_date_days_count_from_the_first_step(prepared):
    folder = prepared()
    path = folder / "config" / "cat_config" / "DMG_BMI" / "shared.yaml"
    content = yaml.safe_load(path.read_text())
    del content["start_time"]
    path.write_text(yaml.safe_dump(content))
    assert found(folder) == []
    assert any("days count from the first step" in text for text in found(folder, "warning"))


# -- forcing files -----------------------------------------------------------------------


@pytest.fixture
def with_csv(prepared, change, shared_data, tmp_path):
    """Make ``with_csv(edit) -> folder`` whose forcing are CSV files; `edit` is for the lines of cat-11371."""

    def make(edit):
        folder = prepared()
        target = tmp_path / "csv"
        shutil.copytree(shared_data / "nextgen_01073000" / "forcing", target)
        path = target / "cat-11371.csv"
        lines = path.read_text().splitlines()
        path.write_text("\n".join(edit(lines)) + "\n")
        new = {"path": str(target), "provider": "CsvPerFeature", "file_pattern": ".*{{id}}[^0-9].*"}
        change(folder, lambda d: d["global"].update(forcing=new))
        return folder

    return make


def replaced(lines, row, column, text):
    cells = next(csv.reader([lines[row]]))
    cells[column] = text
    return [*lines[:row], ",".join(cells), *lines[row + 1 :]]


CSVS = {
    "fine": (lambda lines: lines, None),
    "12 times with a T": (
        lambda ls: [ls[0], *(line.replace(" ", "T", 1) for line in ls[1:])],
        "ngen drops the time of day",
    ),
    "12 two columns of one field": (
        lambda ls: [ls[0] + ",RAINRATE", *(line + ",0.0" for line in ls[1:])],
        "precip_rate and RAINRATE are one field: ngen mixes.*cat-11371",
    ),
    "12 a gap": (lambda ls: [*ls[:10], *ls[12:]], "no record an hour after.*row by row"),
    "12 daily rows": (lambda ls: [ls[0], *ls[1::24]], "no record an hour after.*row by row"),
    "12 an empty cell": (
        lambda ls: replaced(ls, 5, 2, ""),
        "line 6, column TMP_2m.*the cell is empty",
    ),
    "11 NaN": (lambda ls: replaced(ls, 5, 2, "nan"), "TMP_2maboveground is missing .*cat-11371"),
    "8 units in the header that do not convert": (
        lambda ls: [ls[0].replace("precip_rate", "precip_rate [mm]"), *ls[1:]],
        "other columns or other units",
    ),
}


@pytest.mark.parametrize("name", CSVS)
def test_a_mistake_in_csv_forcing_is_found(with_csv, name):
    edit, message = CSVS[name]
    stops = found(with_csv(edit))
    if message is None:
        assert stops == []
    else:
        assert any(re.search(message, text) for text in stops), stops


def test_12_a_catchment_without_a_csv_file_is_named(with_csv, tmp_path):
    folder = with_csv(lambda lines: lines)
    (tmp_path / "csv" / "cat-11509.csv").unlink()
    assert any("there are no files for them [cat-11509]" in text for text in found(folder))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (None, "file_pattern: is missing: .* is a folder"),
        ("{{id}}.txt", "matches no file.*cat-11223"),
        (".*csv", "another one or several.*cat-11223"),
        ("*{{id}}", "is not a regular expression"),
    ],
)
def test_12_a_pattern_must_lead_to_the_file_of_each_catchment(with_csv, change, pattern, message):
    folder = with_csv(lambda lines: lines)
    change(folder, lambda d: d["global"]["forcing"].update(file_pattern=pattern))
    assert any(re.search(message, text) for text in found(folder)), found(folder)


@pytest.mark.parametrize(
    ("forcing", "message"),
    [
        (None, "a block without forcing: ngen takes none from global.*cat-11371"),
        ({}, "a block without forcing: ngen takes none from global.*cat-11371"),
        ({"provider": "NullForcingProvider"}, "catchments.cat-11371.forcing.path: is missing"),
    ],
)
def test_12_a_block_of_a_catchment_needs_its_own_forcing(prepared, change, forcing, message):
    folder = prepared()

    def edit(document):
        block = {"formulations": document["global"]["formulations"]}
        document["catchments"] = {"cat-11371": block if forcing is None else {**block, "forcing": forcing}}

    change(folder, edit)
    assert any(re.search(message, text) for text in found(folder)), found(folder)


@pytest.fixture
def with_netcdf(prepared, change, small, tmp_path, write_forcing):
    """Make ``with_netcdf(**changes) -> folder`` with a NetCDF forcing written for it."""
    write, weather = write_forcing

    def make(ids=None, values=None, **keys):
        folder = prepared()
        ids = ids or small.ids
        values = values or weather(96, len(ids))
        start = keys.pop("start", np.datetime64("2015-12-01"))
        write(tmp_path / "f.nc", ids, values, start, **keys)
        change(folder, lambda d: d["global"]["forcing"].update(path=str(tmp_path / "f.nc")))
        return folder

    return make


def test_12_netcdf_forcing_that_is_right_is_clean(with_netcdf):
    assert found(with_netcdf()) == []


def test_12_a_catchment_that_the_file_lacks_would_get_anothers_values(with_netcdf, small, ngen):
    folder = with_netcdf(ids=small.ids[:-1])
    (error,) = found(folder)
    assert "silently the values of the file's first catchment" in error
    assert small.ids[-1] in error
    run = ngen(folder)  # and so it is
    assert run.status == 0


@pytest.mark.parametrize("step", [10800, 86400])
def test_12_records_that_are_not_hourly_would_be_multiplied(with_netcdf, step):
    assert any("not an hour apart" in text for text in found(with_netcdf(step=step)))


def test_8_units_that_do_not_convert_are_found_where_the_forcing_names_them(with_netcdf):
    units = {"precip_rate": "mm", "TMP_2maboveground": "C", "PRES_surface": "Pa"}
    stops = found(with_netcdf(units=units))
    assert any("'mm' cannot become 'mm d-1'" in text for text in stops)
    assert any("'C' cannot become 'degC'" in text for text in stops)
    assert len(stops) == 2


def test_8_an_hourly_amount_is_no_rate(with_netcdf, change, write_forcing, small):
    """APCP_surface is known to ngen as kg m-2: UDUNITS has no density of water."""
    values = write_forcing[1](96, len(small.ids))
    folder = with_netcdf(values=values | {"APCP_surface": values["precip_rate"] * 3600})
    change(folder, with_params(variables_names_map={P: "APCP_surface"}))
    assert any("units 'kg m^-2' cannot become 'mm d-1'" in text for text in found(folder))


def test_8_what_the_stand_in_does_with_them_is_silent(with_netcdf, ngen):
    """The trap itself: UDUNITS takes C for coulomb, and the raw number goes on."""
    run = ngen(with_netcdf(units={"precip_rate": "mm s-1", "TMP_2maboveground": "C"}))
    assert run.status != 0 or run.stderr.count("conversion error") == 1


def test_11_gaps_are_found_and_may_be_held(with_netcdf, write_forcing, small):
    values = write_forcing[1](96, len(small.ids))
    values["PRES_surface"][2, 40] = np.nan
    folder = with_netcdf(values=values)
    assert any("PRES_surface is missing" in text and small.ids[2] in text for text in found(folder))
    shared = folder / "config" / "cat_config" / "DMG_BMI" / "shared.yaml"
    shared.write_text(shared.read_text().replace("missing_forcing: error", "missing_forcing: hold"))
    assert found(folder) == []


def test_12_units_of_time_that_ngen_does_not_know_are_found(with_netcdf):
    assert any("units 'fortnights' of Time" in text for text in found(with_netcdf(time_units="fortnights")))


def test_6_own_forcing_must_reach_the_end_of_the_last_day(prepared, change):
    folder = prepared(stored_forcing=True)
    change(folder, with_time(end_time="2015-12-04 00:00:00"))
    assert any("ends 86400 s too early: ngen includes its end" in text for text in found(folder))


def test_12_forcing_that_nobody_takes_is_noted(prepared, change, small):
    folder = prepared(stored_forcing=True)
    new = {"path": str(small.forcing), "provider": "NetCDF"}
    change(folder, lambda d: d["global"].update(forcing=new))
    assert found(folder) == []
    assert any("NullForcingProvider saves reading it" in text for text in found(folder, "warning"))


# -- the hydrofabric ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        (
            "UPDATE divides SET areasqkm = NULL WHERE divide_id = 'cat-11371'",
            "areasqkm is missing.*cat-11371",
        ),
        ("UPDATE divides SET areasqkm = 0.0 WHERE divide_id = 'cat-11371'", "areasqkm is missing.*cat-11371"),
        ("UPDATE divides SET toid = NULL WHERE divide_id = 'cat-11371'", "drain to nothing.*cat-11371"),
        (
            "UPDATE divides SET divide_id = 'cat-11223' WHERE divide_id = 'cat-11371'",
            "appear twice.*cat-11223",
        ),
        ("ALTER TABLE divides DROP COLUMN areasqkm", "no column areasqkm"),
    ],
)
def test_13_a_divide_without_area_or_nexus_is_found(prepared, sql, message):
    folder = prepared()
    (fabric,) = (folder / "config").glob("*.gpkg")
    with sqlite3.connect(fabric) as file:
        for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            file.execute(f'DROP TRIGGER "{name}"')
        file.execute(sql)
    file.close()
    stops = found(folder)
    assert any(re.search(message, text) for text in stops), stops


def with_own_forcing(folder, small, change=str):
    """Give cat-11371 a block with a CSV of its own."""
    text = (small.forcing.parent / "forcing" / "cat-11371.csv").read_text()
    own = folder / "mine.csv"
    own.write_text(change(text), encoding="utf-8")
    path = folder / "config" / "realization.json"
    document = json.loads(path.read_text())
    block = {"formulations": document["global"]["formulations"]}
    block["forcing"] = {"path": str(own), "provider": "CsvPerFeature"}
    document["catchments"] = {"cat-11371": block}
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (str, None),
        (lambda text: text.replace("2015-12-01 03", "2015-12-01 04"), "no record an hour after"),
        (lambda text: text.replace("precip_rate", "rain"), "nothing provides"),
        (lambda text: "\n".join(text.splitlines()[:20]), "mine.csv: ends 2015"),
        (lambda text: text.replace("\n2015-12-01 03:00:00,", "\n2015-12-01 03:00:00,-9999"), "is -9999"),
        (lambda text: re.sub(r"(?m)^([^,]*),", r'"\1",', text), "mine.csv: cells in quotes"),
    ],
)
def test_a_csv_of_a_single_catchment_is_examined_as_that_of_all(prepared, small, change, message):
    folder = prepared()
    with_own_forcing(folder, small, change)
    stops = found(folder)
    if message is None:
        assert stops == []
    else:
        assert any(re.search(message, text) for text in stops), stops


def test_a_block_of_a_catchment_without_formulations_is_found(prepared):
    folder = prepared()
    path = folder / "config" / "realization.json"
    document = json.loads(path.read_text()) | {"catchments": {"cat-11371": {}}}
    path.write_text(json.dumps(document))
    assert any("catchments.cat-11371.formulations: is missing" in text for text in found(folder))


def test_a_realization_that_is_no_json_is_said(prepared):
    folder = prepared()
    path = folder / "config" / "realization.json"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ValueError, match="is not valid JSON"):
        found(folder)


def test_a_model_without_a_balance_would_switch_the_check_off(prepared, change, tmp_path):
    from dmg_bmi.model.bundle import Bundle
    from dmg_bmi.model.delta_model import DeltaModel

    model = DeltaModel.build(
        nn={"name": "lstm", "hidden_size": 4},
        roles=[{"role": "output", "inputs": ["P", "T"], "outputs": ["Q"]}],
        statistics={"Q": {"mean": 1.0, "std": 1.0, "units": "mm"}},
    )
    Bundle(model, "network").save(tmp_path / "network")
    with pytest.raises(ValueError, match="no water balance"):
        prepared(bundle=str(tmp_path / "network"), pet=None, model_params={})
    assert json.loads((tmp_path / "run" / "config" / "realization.json").read_text())


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda d: d.update({"global": None}), "global must be an object of keys and values, not null"),
        (lambda d: d["global"].update(formulations=3), "global.formulations must be a list, not 3"),
        (lambda d: d["global"].update(formulations=[3]), r"global.formulations\[0\] must be an object"),
        (lambda d: d.update(layers=3), "layers must be a list, not 3"),
        (lambda d: d.update(layers=[None]), r"layers\[0\] must be an object .*, not null"),
        (lambda d: d.update(time=[]), "time must be an object"),
        (lambda d: d.update(output={"catchment": 1}), "output.catchment must be an object"),
        (lambda d: d.update(catchments={"cat-1": "x"}), "catchments.cat-1 must be an object"),
        (with_params(init_config=3), "params.init_config must be text, not 3"),
        (with_params(variables_names_map={"P": 3}), "params.variables_names_map.P must be text, not 3"),
        (with_params(mass_balance={"tolerance": "x"}), "mass_balance.tolerance must be a number, not 'x'"),
        (
            with_params(mass_balance={"frequency": True}),
            "mass_balance.frequency must be a number",
        ),
        (with_params(output_variables="Q"), "params.output_variables must be a list, not 'Q'"),
    ],
)
def test_a_value_of_another_kind_is_refused_with_its_place(prepared, change, edit, said):
    folder = prepared()
    change(folder, edit)
    with pytest.raises(NextGenError, match=rf"realization\.json: .*{said}"):
        found(folder)
