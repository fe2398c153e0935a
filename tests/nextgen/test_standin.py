"""The stand-in for `ngen` reads forcing as ngen's own source does, wrongly where that is wrong."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import pytest

START = 1448928000  # 2015-12-01 00:00
END = START + 2 * 3600
RAIN = "atmosphere_water__liquid_equivalent_precipitation_rate"
#: The names of the National Water Model beside those of AORC.
OLDER = {
    "precip_rate": "RAINRATE", "TMP_2maboveground": "T2D", "SPFH_2maboveground": "Q2D",
    "UGRD_10maboveground": "U2D", "VGRD_10maboveground": "V2D", "PRES_surface": "PSFC",
    "DSWRF_surface": "SWDOWN", "DLWRF_surface": "LWDOWN",
}  # fmt: skip


@pytest.fixture(scope="module")
def standin():
    """The module that reads forcing for the stand-in."""
    path = Path(__file__).parent / "ngen_forcing.py"
    spec = importlib.util.spec_from_file_location("ngen_forcing", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def csv_of(standin, tmp_path):
    """A function that opens a CSV of these lines."""

    def make(*lines, end="\n"):
        (tmp_path / "cat-1.csv").write_bytes(end.join([*lines, ""]).encode())
        return standin.CsvPerFeature(str(tmp_path / "cat-1.csv"), START, END)

    return make


ROWS = [f"2015-12-01 0{h}:00:00,{h}.5" for h in range(3)]


def series(provider, name):
    return [provider.get("cat-1", name, START + h * 3600, 3600)[0] for h in range(3)]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_plain_file_is_read(csv_of, end):
    provider = csv_of("time,precip_rate", *ROWS, end=end)
    assert series(provider, "precip_rate") == series(provider, RAIN) == [0.5, 1.5, 2.5]
    assert provider.names() == {"precip_rate", RAIN}


def test_after_the_end_the_last_hour_goes_on(csv_of):
    provider = csv_of("time,precip_rate", *ROWS)
    assert provider.get("cat-1", RAIN, END + 5 * 3600, 3600)[0] == 2.5


def test_quotation_marks_are_no_quotation_marks(csv_of, standin):
    titles = csv_of('time,"precip_rate"', *ROWS)
    assert titles.names() == {'"precip_rate"'}
    with pytest.raises(standin.Abort, match="unrecognized parameter name"):
        titles.get("cat-1", RAIN, START, 3600)
    with pytest.raises(standin.Abort, match="bad lexical cast"):
        csv_of("time,precip_rate", '2015-12-01 00:00:00,"0.5"')
    with pytest.raises(standin.Abort, match="bad lexical cast"):
        csv_of("time,precip_rate,note", '2015-12-01 00:00:00,0.5,"1,5"')
    stamps = csv_of("time,precip_rate", *(f'"{row[:19]}"{row[19:]}' for row in ROWS))
    with pytest.raises(standin.Abort, match="bad index 0"):
        stamps.get("cat-1", RAIN, START, 3600)


@pytest.mark.parametrize(("newer", "older"), OLDER.items())
def test_older_names_stand_for_the_same_fields(csv_of, standin, newer, older):
    name, units = standin.WELL_KNOWN[newer]
    provider = csv_of(f"time,{older}", *ROWS)
    assert provider.names() == {older, name}
    assert provider.get("cat-1", name, START, 3600) == (0.5, units)
    assert provider.get("cat-1", older, START, 3600) == (0.5, units)
    # The other column's name finds the values, but no units.
    assert provider.get("cat-1", newer, START, 3600) == (0.5, "")


def test_two_columns_of_one_field_are_mixed(csv_of):
    provider = csv_of("time,precip_rate,RAINRATE", *(f"{row},-1" for row in ROWS))
    assert series(provider, RAIN) == [0.5, -1.0, 1.5]


def test_units_stand_in_the_last_brackets(csv_of):
    provider = csv_of("Time, T (2 m) [degC] ,x(1)", *(f"{row},0" for row in ROWS))
    assert provider.units == {"T (2 m)": "degC", "x": "1"}


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("2015-12-01 03:00:00", START + 3 * 3600),
        ("2015-12-01 3:00:00", START + 3 * 3600),
        ("2015-12-01T03:00:00", START),
        ("2015-12-01 03:00:00-06:00", START + 3 * 3600),
        ('"2015-12-01 03:00:00"', -2209075200),
        ("", -2209075200),
    ],
)
def test_a_time_counts_as_far_as_it_can_be_read(standin, text, second):
    assert standin.parse_time(text) == second


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["time,x", "2015-12-01 00:00:00,1,2"], "SIGSEGV"),
        (["time,x", "2015-12-01 01:00:00,1"], "begins after"),
        (["time,x", "2015-12-01 00:00:00,"], "bad lexical cast"),
        (["time,x", "2015-12-01 00:00:00,1_000"], "bad lexical cast"),
        (["time,x", "2015-12-01 00:00:00,1e400"], "bad lexical cast"),
        (["x,time", "1"], "SIGSEGV"),
    ],
)
def test_a_file_that_ends_ngen_ends_the_stand_in(csv_of, standin, lines, said):
    with pytest.raises(standin.Abort, match=said):
        csv_of(*lines)


def outputs(run):
    assert run.status == 0, run.stderr
    return run.files()


def use_csv(change, folder, target):
    new = {"path": str(target), "provider": "CsvPerFeature", "file_pattern": ".*{{id}}[^0-9].*"}
    change(folder, lambda d: d["global"].update(forcing=new))


def test_files_with_older_names_give_the_same_run(prepared, change, ngen, small, tmp_path):
    folder, found = prepared(), []
    for names in ({}, OLDER):
        target = tmp_path / f"csv{len(names)}"
        shutil.copytree(small.forcing.parent / "forcing", target)
        for file in target.iterdir():
            header, _, rest = file.read_text().partition("\n")
            file.write_text(",".join(names.get(n, n) for n in header.split(",")) + "\n" + rest)
        use_csv(change, folder, target)
        found.append(outputs(ngen(folder)))
    assert found[0] == found[1]


@pytest.mark.slow
def test_a_catchment_takes_the_forcing_of_its_own_block(prepared, change, ngen, small):
    """Its runoff is that of the catchment whose weather it is given, all else stays."""
    plain = {"model_params": {}, "pet": "oudin"}
    folder = prepared(**plain)
    before = outputs(ngen(folder))
    first, second = small.ids[:2]
    csv = small.forcing.parent / "forcing"

    def own(document, **forcing):
        block = {"formulations": document["global"]["formulations"], "forcing": forcing}
        document["catchments"] = {first: block}

    change(folder, lambda d: own(d, path=str(csv / f"{second}.csv"), provider="CsvPerFeature"))
    after = outputs(ngen(folder))
    assert before[f"{first}.csv"] != after[f"{first}.csv"]
    assert {n for n in before if n.startswith("cat-") and before[n] != after[n]} == {f"{first}.csv"}
    # The same from a folder by pattern, where the file of another catchment bears its name.
    other = folder / "other"
    other.mkdir()
    shutil.copy(csv / f"{second}.csv", other / f"{first}.csv")
    change(folder, lambda d: own(d, path=str(other), file_pattern="{{id}}.csv"))
    assert outputs(ngen(folder)) == after


@pytest.mark.parametrize("forcing", [None, {}, {"provider": "NullForcingProvider"}])
def test_a_block_without_forcing_ends_the_run(prepared, change, ngen, small, forcing):
    """It takes none from `global`."""
    folder = prepared()

    def edit(document):
        block = {"formulations": document["global"]["formulations"], "forcing": forcing}
        document["catchments"] = {small.ids[0]: {k: v for k, v in block.items() if v is not None}}

    realization = change(folder, edit)
    run = ngen(folder)
    assert run.status == 134
    assert small.ids[0] in run.stderr
    assert json.loads(realization.read_text())["catchments"]
