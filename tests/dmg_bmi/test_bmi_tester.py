"""bmi-tester, the community's checks, in a process of its own; what it skips is known and said.

It stages files, not folders, and reads the configuration's name relative to where it runs: so the
bundle is named by its full path, and the tester is started in the folder of the configuration.
"""

import os
import re
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow

bmi_tester = pytest.importorskip("bmi_tester")
pytest.importorskip("gimli.units", reason="bmi-tester checks units only with gimli.units<0.4")

STAGES = 4
CONFIGS = Path(__file__).resolve().parents[2] / "bmi_configs"
LINE = re.compile(r"::(\w+)(?:\[(.*?)\])? (PASSED|FAILED|ERROR|SKIPPED)(?: \((.*)\))?\s")

#: What bmi-tester skips whatever it is given: it asks for tests and methods under other names than theirs.
ALWAYS = {
    "test_initialize": "test_initialize depends on has_initialize",
    "test_update": "test_update depends on initialize_works",
    "test_input_var_name_count": "get_input_var_name_count not implemented",
    "test_output_var_name_count": "get_output_var_name_count not implemented",
    "test_get_input_var_names": "test_get_input_var_names depends on test_input_var_name_count",
    "test_get_output_var_names": "test_get_output_var_names depends on test_output_var_name_count",
    "test_get_end_time": "unconditional skip",
    "test_get_current_time": "test_get_current_time depends on test_get_end_time",
    "test_set_input_values": "too dangerous",
}
#: One catchment is a scalar: what is for grids with geometry.
ONE = {
    "test_get_grid_node_count": "grid 0 is not unstructured",
    "test_get_grid_edge_count": "grid 0 is not unstructured",
    "test_get_grid_face_count": "grid 0 is not unstructured",
    "test_get_grid_edge_nodes": "grid 0 is not unstructured",
    "test_get_grid_edges_per_face": "edges_per_face",
    "test_get_grid_face_edges": "face_edges",
    "test_get_grid_shape": "grid 0 is not one of uniform_rectilinear, rectilinear, structured_quadrilateral",
    "test_get_grid_spacing": "grid 0 is not uniform_rectilinear",
    "test_get_grid_origin": "grid 0 is not uniform_rectilinear",
    "test_grid_x": "grid is rank 0",
    "test_grid_y": "grid is rank 0",
    "test_grid_z": "grid is rank 0",
}
#: Many catchments lie on no grid, so there is none to check.
NO_GRID = (*ONE, "test_get_grid_rank", "test_get_grid_size", "test_get_grid_type")


def run(config, component="dmg_bmi:DeltaModelBmi"):
    """Outcomes ``{test: {outcome: count}}`` and reasons ``{test: reason}`` of a whole bmi-tester run."""
    command = [sys.executable, "-m", "bmi_tester", component]
    command += [f"--root-dir={config.parent}", f"--config-file={config.name}"]
    # pytest looks for the tester's conftest.py only up to here, and shows reasons where there is room.
    home = Path(bmi_tester.__file__).parent
    # An environment within this checkout would give it this project's settings, hence a file of its own.
    settings = config.with_name("pytest.ini")
    settings.write_text("[pytest]\n", encoding="utf-8")
    addopts = f"-v -c {settings} -p no:cacheprovider --confcutdir={home}"
    options = {"PYTEST_ADDOPTS": addopts, "COLUMNS": "500"}
    done = subprocess.run(
        command, cwd=config.parent, capture_output=True, text=True, timeout=300, env={**os.environ, **options}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("test session starts") == STAGES
    counts, reasons = {}, {}
    for test, _, outcome, reason in LINE.findall(done.stdout):
        counts.setdefault(outcome, []).append(test)
        if outcome == "SKIPPED":
            reasons[test] = re.sub(r"var, \S+, is", "var is", reason)
    return counts, reasons


@pytest.fixture
def shipped(tmp_path):
    """A copy of the shipped configurations, beside which files may be written."""
    for file in CONFIGS.iterdir():
        if file.suffix in (".yaml", ".csv"):
            shutil.copy(file, tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["daily", "daily_stepped_hourly", "hourly"])
def test_one_catchment_passes_all_stages_and_nothing_is_skipped_unknowingly(shipped, name):
    counts, reasons = run(shipped / f"{name}.yaml")
    print(f"{len(counts['PASSED'])} passed, {len(counts['SKIPPED'])} skipped: {reasons}")
    assert counts.keys() == {"PASSED", "SKIPPED"}
    assert reasons == ALWAYS | ONE
    units = [test for test in counts["PASSED"] if "units" in test]
    assert len(units) > 8  # gimli.units is really at work


def assert_passes_without_a_grid(counts, reasons):
    print(f"{len(counts['PASSED'])} passed, {len(counts['SKIPPED'])} skipped: {reasons}")
    assert counts.keys() == {"PASSED", "SKIPPED"}
    for test in NO_GRID:
        assert test not in counts["PASSED"]
        reasons.pop(test, None)
    assert reasons == ALWAYS | {"test_var_on_grid": "var is not located on a grid"}


def test_the_shipped_river_passes_all_stages_and_nothing_is_skipped_unknowingly(tmp_path):
    with resources.as_file(resources.files("dmg_bmi.bmi_configs") / "river.yaml") as shipped:
        content = yaml.safe_load(shipped.read_text(encoding="utf-8"))
        content["catchments"]["hydrofabric"] = str(shipped.with_name("river.gpkg"))
        config = tmp_path / "river.yaml"
        config.write_text(yaml.safe_dump(content), encoding="utf-8")
        assert_passes_without_a_grid(*run(config, "dmg_bmi:RoutingBmi"))


def test_many_catchments_pass_all_stages_and_nothing_is_skipped_unknowingly(shipped):
    assert_passes_without_a_grid(*run(shipped / "many.yaml"))
