"""A preparation killed at any moment leaves nothing that would run, and preparing again is complete."""

import os
import random
import signal
import time

import numpy as np
import pytest

from dmg_bmi.nextgen.prepare.prepare import Plan, prepare

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")


@pytest.fixture
def plan(bundle, small, tmp_path):
    return Plan(
        bundle=str(bundle("plain")),
        output=tmp_path / "run",
        hydrofabric=small.hydrofabric,
        start=np.datetime64("2015-12-02"),
        end=np.datetime64("2015-12-05"),
        forcing=small.forcing,
        pet="oudin",
        stored_forcing=True,
    )


def contents(folder):
    """Every file that says what is run; stores are arrays, compared byte by byte."""
    files = (p for p in folder.rglob("*") if p.is_file() and p.suffix != ".gpkg")
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def test_a_killed_preparation_is_not_run_and_the_next_is_complete(plan, tmp_path):
    began = time.perf_counter()
    prepare(plan)
    takes = time.perf_counter() - began
    expected = contents(tmp_path / "run")
    assert "config/realization.json" in expected
    killed = 0
    for seed in range(6):
        child = os.fork()
        if child == 0:
            try:
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, 2)
                prepare(plan)
            finally:
                os._exit(0)
        time.sleep(random.Random(seed).uniform(0.05, 0.95) * takes)
        os.kill(child, signal.SIGKILL)
        if os.waitpid(child, 0)[1]:
            killed += 1
            left = {n: c for n, c in contents(tmp_path / "run").items() if ".dmg_bmi/" not in n}
            # What is there either is whole, or has no realization, without which ngen does not start.
            assert "config/realization.json" not in left or left == expected
    assert killed > 2
    prepare(plan)
    assert contents(tmp_path / "run") == expected
