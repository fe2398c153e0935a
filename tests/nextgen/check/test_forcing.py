"""What a check finds in files of forcing."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
from realizations import P, found, with_params, with_time

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
