"""Every NetCDF file that the project writes passes the checker of the CF conventions."""

import pytest
import yaml

from dmg_bmi.cli import main
from dmg_bmi.io import netcdf
from dmg_bmi.synthetic.basins import ATTRIBUTES, generate

pytestmark = pytest.mark.slow

runner = pytest.importorskip("compliance_checker.runner", reason="compliance-checker is not installed")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The files of a dataset, a run and a coupled run with rivers."""
    folder = tmp_path_factory.mktemp("written")
    dataset = generate(3, 1, seed=4)  # with the coordinates of its gauges
    netcdf.write(folder / "forcing.nc", dataset, title="synthetic")
    attributes = {
        name: dataset.attributes[name].tolist() for name in ATTRIBUTES if not name.startswith("gauge")
    }
    catchments = {"ids": [*dataset.ids], "area": 10.0, "attributes": attributes}
    config = {"bundle": "demo_daily", "catchments": catchments, "start_time": str(dataset.times[0])}
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    run = [str(folder / "run.yaml"), "--forcing", str(folder / "forcing.nc"), "--output", str(folder)]
    assert main(["run", *run]) == 0
    flow = {"observations": "forcing.nc", "first": "2000-12-01", "last": "2000-12-05", "lags": 2}
    forecast = {"run": "run.yaml", "forcing": "forcing.nc", "output": "forecasts", **flow}
    (folder / "forecast.yaml").write_text(yaml.safe_dump(forecast))
    assert main(["forecast", str(folder / "forecast.yaml")]) == 0
    (written,) = (folder / "forecasts").glob("*.nc")
    written.rename(folder / "forecast.nc")
    assert main(["demo", "--output", str(folder / "demo")]) == 0
    return folder


@pytest.mark.parametrize(
    "file",
    ["forcing.nc", "output.nc", "forecast.nc", "demo/forcing.nc", "demo/runoff.nc", "demo/river.nc"],
)
def test_a_file_keeps_the_conventions(written, file, capsys):
    runner.CheckSuite.load_all_available_checkers()
    passed, _ = runner.ComplianceChecker.run_checker(
        str(written / file), ["cf:1.11"], 0, "strict", output_format="text", output_filename="-"
    )
    said = capsys.readouterr().out
    assert passed, said
    assert "potential issue" not in said, said
