"""A run folder knows the configuration that it holds, wherever it lies."""

from pathlib import Path

import pytest

from dmg_bmi.training.config import TrainingConfig
from dmg_bmi.training.run_folder import RunFolder

PERIODS = {"train": ["2000-10-01", "2001-09-30"], "test": ["2001-10-01", "2002-09-30"], "spin_up": 60}


def config(cache: str, steps: int = 3) -> TrainingConfig:
    content = {
        "name": "run",
        "data": {"reader": "netcdf", "path": "basins.nc", "cache": cache},
        "periods": {
            "train": ["2000-10-01", "2001-09-30"],
            "test": ["2001-10-01", "2002-09-30"],
            "spin_up": 60,
        },
        "model": {"nn": {"name": "mlp"}, "phy_model": {"name": "hbv"}},
        "training": {"max_steps": steps},
    }
    return TrainingConfig.from_plain(content, "run.yaml")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    files = RunFolder(tmp_path)
    files.write_config(config("here/cache"))
    return files


def test_a_cache_in_another_place_is_no_other_run(folder):
    assert folder.compare(config("moved/cache")) == ""


def test_other_settings_are_named(folder):
    assert folder.compare(config("moved/cache", steps=4)) == "training.max_steps 3 and not 4"
