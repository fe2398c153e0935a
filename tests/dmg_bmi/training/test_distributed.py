"""Two processes on the CPU train the model that one process trains."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dmg_bmi import Bundle

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("shared.py")


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(SCRIPT), str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parent)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_two_processes_find_the_weights_that_one_finds(together, monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    from test_survival import OPTIONS, SIZES, make_data, make_model

    from dmg_bmi.training.trainer import fit

    model = make_model(dropout=0.0)
    before = torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    fit(model, make_data(), OPTIONS, **SIZES)
    alone = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    shared = torch.load(together / "weights.pt", weights_only=True)
    torch.testing.assert_close(shared, alone, rtol=1e-4, atol=1e-6)
    assert (alone - before).abs().max() > 0.05


def test_the_first_process_alone_leaves_a_run(together):
    assert (together / "run" / "metrics.csv").exists()
    log = (together / "run" / "train.log").read_text()
    assert log.count("trained 4 steps") == 1
    assert Bundle.load(together / "run" / "bundle").provenance["training"]["training"]["batch_size"] == 8
