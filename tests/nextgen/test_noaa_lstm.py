"""NOAA's LSTM in ngen (or its stand-in): its configuration files and realization, but for the class name."""

import csv
import json
import shutil

import numpy as np
import pytest
import yaml

HOURS = 720
#: Of single precision, in which the reference was computed.
ROUNDING = np.finfo(np.float32).eps


@pytest.fixture
def prepared_by_noaa(small, shared_data, tmp_path):
    """A folder for `ngen` as NOAA's documentation describes it, over the five catchments."""
    noaa = shared_data / "noaa_lstm"
    if not noaa.is_dir():
        pytest.skip(f"no {noaa}")
    config = tmp_path / "config"
    config.mkdir()
    shutil.copy(small.hydrofabric, config / "domain.gpkg")
    (tmp_path / "outputs" / "ngen").mkdir(parents=True)
    for name in small.ids:
        own = noaa / f"{name}.yml"
        values = yaml.safe_load((own if own.is_file() else noaa / "cat-11223.yml").read_text())
        values["train_cfg_file"] = [str(noaa / "model" / "config.yml")]
        (config / f"{name}.yml").write_text(yaml.safe_dump(values))
    realization = {
        "global": {
            "formulations": [
                {
                    "name": "bmi_python",
                    "params": {
                        "python_type": "dmg_bmi.NoaaLstmBmi",
                        "model_type_name": "bmi_LSTM",
                        "init_config": "./config/{{id}}.yml",
                        "main_output_variable": "land_surface_water__runoff_depth",
                        "output_variables": [
                            "land_surface_water__runoff_depth",
                            "land_surface_water__runoff_volume_flux",
                        ],
                        "output_header_fields": ["runoff_depth_m", "streamflow_m3_s-1"],
                        "allow_exceed_end_time": True,
                    },
                }
            ],
            "forcing": {
                "path": str(shared_data / "nextgen_01073000" / "forcing"),
                "file_pattern": "{{id}}.csv",
                "provider": "CsvPerFeature",
            },
        },
        "time": {
            "start_time": "2015-12-01 00:00:00",
            "end_time": "2015-12-30 23:00:00",
            "output_interval": 3600,
        },
        "output": {"root": "./outputs/ngen", "precision": 15},
    }
    (config / "realization.json").write_text(json.dumps(realization))
    return tmp_path, noaa


def test_a_realization_of_noaas_lstm_runs_unchanged_but_for_the_class_name(prepared_by_noaa, ngen):
    folder, noaa = prepared_by_noaa
    run = ngen(folder)
    assert run.status == 0, run.stderr
    for name in ("cat-11223", "cat-11509"):
        rows = run.catchment(name)
        with (noaa / f"{name}_noaa_lstm.csv").open() as file:
            expected = [*csv.DictReader(file)]
        assert len(rows) == len(expected) == HOURS
        for column in ("runoff_depth_m", "streamflow_m3_s-1"):
            actual, reference = ([float(row[column]) for row in series] for series in (rows, expected))
            np.testing.assert_allclose(actual, reference, rtol=1e-6, atol=ROUNDING * max(reference))
