"""A preparation killed at any moment leaves nothing that would run, and preparing again is complete."""

import os
import random
import shutil
import signal
import time
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest

from dmg_bmi.errors import HydrofabricError
from dmg_bmi.io import journal
from dmg_bmi.nextgen.check.realization import check
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


@pytest.fixture
def steps(plan, tmp_path):
    """Return the folder before each step of a second preparation's exchange, and that one's plan."""
    run, taken = plan.output, []
    prepare(plan)
    (run / "config" / "mine.yml").write_text("a user's")
    other = replace(plan, pet="hargreaves", start=np.datetime64("2015-12-03"), routing=False)
    real = os.rename

    def rename(here, there):
        if (run / ".config.dmg_bmi" / journal.JOURNAL).exists():
            taken.append(tmp_path / f"step{len(taken)}")
            shutil.copytree(run, taken[-1])  # what SIGKILL would leave
        real(here, there)

    with patch.object(os, "rename", rename):
        prepare(other)
    return taken, other


def whole(found):
    return {name: content for name, content in found.items() if ".dmg_bmi/" not in name}


def components(found):
    """What a component reads."""
    return {n: c for n, c in whole(found).items() if n.startswith(("config/cat_config/", "forcings/store/"))}


def recovered(folder, by):
    """What stands in a folder after somebody came to it."""
    by(folder)
    found = contents(folder)
    assert found == whole(found)
    return found


def test_killed_at_any_step_of_its_exchange_the_older_preparation_comes_back(plan, steps):
    taken, other = steps
    new = contents(plan.output)
    prepare(plan)
    old = contents(plan.output)
    assert old != new
    assert len(taken) > 20

    def checked(folder):
        check(folder / "config" / "realization.json", plan.hydrofabric)

    def refused(folder):
        with pytest.raises(HydrofabricError):
            prepare(replace(plan, output=folder, hydrofabric=folder / "none.gpkg"))

    started = 0
    for k, folder in enumerate(taken):
        found = contents(folder)
        # What is there either is whole, or nothing starts on it: neither ngen nor a component.
        if "config/realization.json" in found:
            started += 1
            assert whole(found) in (whole(old), whole(new))
        if "config/cat_config/DMG_BMI/shared.yaml" in found:
            assert components(found) in (components(old), components(new))
        assert recovered(folder, (checked, refused)[k % 2]) == old, k
    assert 0 < started < 4
    for folder in taken[:: len(taken) // 3]:
        assert recovered(folder, lambda folder: prepare(replace(other, output=folder))) == new
