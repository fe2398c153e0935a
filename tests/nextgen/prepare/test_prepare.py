"""What prepare writes, and what it does about holes."""

import json
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
import yaml
from prepared_folders import MODEL, catchments

from dmg_bmi import Bundle
from dmg_bmi.bmi import DeltaModelBmi
from dmg_bmi.errors import NextGenError
from dmg_bmi.nextgen.prepare.prepare import prepare

RUNOFF = "land_surface_water__runoff_depth"


# -- what is written ------------------------------------------------------------------


def test_per_catchment_files_are_tiny_and_what_is_shared_stands_once(plan, tmp_path):
    prepare(plan())
    models = tmp_path / "run" / "config" / "cat_config" / MODEL
    files = sorted(models.glob("cat-*.yml"))
    assert len(files) == 794
    assert max(f.stat().st_size for f in files) < 60
    shared = yaml.safe_load((models / "shared.yaml").read_text())
    assert shared["start_time"] == "2010-06-01T00:00:00"
    assert shared["time_step"] == 3600
    assert (models / "bundle" / "bundle.yaml").is_file()
    document = json.loads((tmp_path / "run" / "config" / "realization.json").read_text())
    params = document["global"]["formulations"][0]["params"]
    assert params["cache_input_variable_metadata"] is True
    assert params["main_output_variable"] == RUNOFF
    assert document["time"] == {
        "start_time": "2010-06-01 00:00:00", "end_time": "2010-06-03 23:00:00", "output_interval": 3600
    }  # fmt: skip
    for path in (tmp_path / "run" / "config").rglob("*.*"):
        if path.suffix in (".yml", ".yaml", ".json", ".csv"):
            assert path.read_bytes().isascii(), path


def test_attributes_come_in_the_units_of_the_bundle(plan, tmp_path, juniata):
    prepare(plan())
    table = catchments(tmp_path / "run")
    with sqlite3.connect(juniata.hydrofabric) as file:
        rows = file.execute(
            'SELECT a.divide_id, "mean.elevation", "mean.slope", tot_drainage_areasqkm, areasqkm '
            'FROM "divide-attributes" a JOIN divides d ON a.divide_id = d.divide_id'
        ).fetchall()
    assert len(rows) == 793
    for name, elevation, slope, upstream, area in rows:
        row = table[name]
        assert float(row["elevation"]) == pytest.approx(elevation / 100)
        assert float(row["slope"]) == pytest.approx(90 - slope)
        assert float(row["upstream_area"]) == upstream
        assert float(row["area_km2"]) == area
        assert 39.5 < float(row["latitude"]) < 41.5


def test_a_prepared_catchment_initializes(plan, tmp_path):
    prepare(plan())
    bmi = DeltaModelBmi()
    bmi.initialize(str(tmp_path / "run" / "config" / "cat_config" / MODEL / "cat-87385.yml"))
    table = catchments(tmp_path / "run")["cat-87385"]
    np.testing.assert_allclose(bmi.get_value_ptr("elevation"), float(table["elevation"]))
    assert bmi.get_time_step() == 3600.0


def test_preparing_again_replaces_what_was_there(plan, tmp_path):
    prepare(plan())
    old = tmp_path / "run" / "config" / "cat_config" / MODEL / "cat-0.yml"
    old.write_text("shared: shared.yaml\ncatchment: cat-0\n")
    prepare(plan(end=np.datetime64("2010-06-03")))
    assert not old.exists()


@pytest.mark.slow
def test_preparing_again_leaves_what_somebody_else_put_there(plan, tmp_path):
    prepare(plan())
    models = tmp_path / "run" / "config" / "cat_config" / MODEL
    kept = [models / name for name in ("notes.yml", "thesis/chapter.tex", ".catchments.csv.0a1b2c3d.part")]
    for path in kept:
        path.parent.mkdir(exist_ok=True)
        path.write_text("a user's")
    prepare(plan(end=np.datetime64("2010-06-03")))
    assert [path.read_text() for path in kept] == ["a user's"] * 3


@pytest.mark.slow
def test_a_bundle_in_the_folder_that_is_prepared_is_not_lost(plan, tmp_path):
    prepare(plan())
    models = tmp_path / "run" / "config" / "cat_config" / MODEL
    before = {p.name: p.read_bytes() for p in (models / "bundle").iterdir()}
    prepare(plan(bundle=str(models / "bundle")))
    assert {p.name: p.read_bytes() for p in (models / "bundle").iterdir()} == before


def test_a_period_that_ends_before_it_starts_is_refused(plan):
    with pytest.raises(NextGenError, match="before it starts"):
        prepare(plan(end=np.datetime64("2010-05-01")))


# -- holes ------------------------------------------------------------------------------


HOLE = "cat-87639"


def test_holes_stop_and_are_named(plan):
    with pytest.raises(
        NextGenError, match=rf"attribute elevation: missing; choose --missing-attributes.*\[{HOLE}\]"
    ):
        prepare(plan(missing_attributes="error"))


def test_holes_are_dropped_with_their_divide(plan, tmp_path, ngen):
    done = prepare(plan(missing_attributes="drop"))
    assert done.catchments == 793
    assert HOLE not in catchments(tmp_path / "run")
    assert not (tmp_path / "run" / "config" / "cat_config" / MODEL / f"{HOLE}.yml").exists()
    with sqlite3.connect(done.hydrofabric) as file:
        assert file.execute("SELECT COUNT(*) FROM divides").fetchone() == (793,)
        assert file.execute("PRAGMA quick_check").fetchone() == ("ok",)
    assert any(f.ids == (HOLE,) and "left out" in f.message for f in done.findings)


def test_holes_are_filled_with_the_mean_of_what_is_next_to_them(plan, tmp_path, juniata):
    prepare(plan(missing_attributes="neighbours"))
    table = catchments(tmp_path / "run")
    with sqlite3.connect(juniata.hydrofabric) as file:
        (nexus,) = file.execute("SELECT toid FROM divides WHERE divide_id = ?", (HOLE,)).fetchone()
        (reach,) = file.execute("SELECT id FROM divides WHERE divide_id = ?", (HOLE,)).fetchone()
        up = file.execute(
            "SELECT divide_id FROM divides WHERE toid IN (SELECT id FROM nexus WHERE toid = ?)", (reach,)
        ).fetchall()
        beside = file.execute(
            "SELECT divide_id FROM divides WHERE toid = ? AND divide_id != ?", (nexus, HOLE)
        ).fetchall()
        down = file.execute(
            "SELECT divide_id FROM divides WHERE id IN (SELECT toid FROM nexus WHERE id = ?)", (nexus,)
        ).fetchall()
    around = [name for (name,) in (*up, *beside, *down)]
    values = [float(table[name]["elevation"]) for name in around]
    assert values
    assert min(values) <= float(table[HOLE]["elevation"]) <= max(values)


# -- the range in training -----------------------------------------------------------------


def ranged(bundle, folder, **limits):
    """The hybrid bundle, its elevations trained within limits."""
    model = Bundle.load(bundle("hybrid")).model
    model.statistics["elevation"] = replace(model.statistics["elevation"], **limits)
    return str(Bundle(model, "ranged").save(folder).path)


def test_divides_far_outside_of_the_training_stop_by_name(plan, bundle, tmp_path):
    narrow = ranged(bundle, tmp_path / "ranged", lower=-900.0, upper=-800.0)
    with pytest.raises(NextGenError, match=r"attribute elevation: far outside -900 to -800 m.*\[cat-"):
        prepare(plan(bundle=narrow))


def test_divides_a_little_outside_of_the_training_are_noted_and_counted(plan, bundle, tmp_path):
    done = prepare(plan(bundle=ranged(bundle, tmp_path / "ranged", lower=0.0, upper=300.0)))
    (found,) = [f for f in done.findings if "a little outside 0 to 300 m" in f.message]
    high = {name for name, row in catchments(tmp_path / "run").items() if float(row["elevation"]) > 300.001}
    assert set(found.ids) == high != set()


# -- what is wrong with a hydrofabric -----------------------------------------------------


@pytest.mark.parametrize(
    ("table", "key", "column"),
    [
        ("divide-attributes", "divide_id", "mean.elevation"),
        ("flowpath-attributes", "link", "n"),
        ("flowpaths", "id", "tot_drainage_areasqkm"),
        ("divides", "divide_id", "areasqkm"),
    ],
)
@pytest.mark.parametrize("routing", [True, False])
def test_rows_of_one_id_that_differ_stop(plan, juniata, changed, table, key, column, routing):
    with sqlite3.connect(juniata.hydrofabric) as file:
        names = [r[1] for r in file.execute(f'PRAGMA table_info("{table}")') if r[1] != "fid"]
    listed = ", ".join(f'"{n}"' for n in names)
    values = ", ".join(f'"{n}" + 1' if n == column else f'"{n}"' for n in names)
    name = "cat-87385" if key == "divide_id" else "wb-87385"
    again = f'INSERT INTO "{table}" ({listed}) SELECT {values} FROM "{table}" WHERE {key} = ?'
    with pytest.raises(
        NextGenError, match=rf"duplicate: repeated in the table {table}, in rows that differ.*\[{name}\]"
    ):
        prepare(plan(hydrofabric=changed((again, (name,))), routing=routing))


def test_an_upstream_area_that_is_text_is_named(plan, changed):
    text = ("UPDATE divides SET tot_drainage_areasqkm = 'large' WHERE divide_id = ?", ("cat-87385",))
    with pytest.raises(NextGenError, match=r"attribute upstream_area: missing.*cat-87385"):
        prepare(plan(hydrofabric=changed(text), missing_attributes="error"))


# -- routing ------------------------------------------------------------------------------


def test_routing_gets_a_hydrofabric_without_what_t_route_stumbles_over(plan, juniata):
    done = prepare(plan())
    with sqlite3.connect(done.hydrofabric) as file:
        columns = [row[1] for row in file.execute('PRAGMA table_info("flowpath-attributes")')]
        assert "link" in columns
        assert not {"id", "toid", "vpuid"} & {*columns}
        links = [row[0] for row in file.execute('SELECT link FROM "flowpath-attributes"')]
        assert len(links) == len(set(links)) == 794
        for table in ("divides", "flowpaths", "nexus"):
            with sqlite3.connect(juniata.hydrofabric) as original:
                count = f"SELECT COUNT(*) FROM {table}"
                assert file.execute(count).fetchone() == original.execute(count).fetchone()
    content = yaml.safe_load((done.realization.parent / "troute.yaml").read_text())
    forcing = content["compute_parameters"]["forcing_parameters"]
    assert forcing["nts"] == 3 * 288
    assert forcing["dt"] * forcing["qts_subdivisions"] == 3600
    assert content["compute_parameters"]["restart_parameters"]["start_datetime"] == "2010-06-01 00:00:00"
