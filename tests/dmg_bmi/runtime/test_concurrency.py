"""Instances in threads and in forked processes give the answers that they give alone."""

import os
import pickle
import signal
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch
import yaml

from dmg_bmi.bmi import DeltaModelBmi
from dmg_bmi.errors import AttributeTableError


@pytest.fixture
def member(configure, bundles):
    """Make ``member(k) -> path`` of a catchment of one shared configuration of six."""
    shared = configure(bundles("lstm"), 6)

    def write(k: int):
        path = shared.with_name(f"member-{k}.yaml")
        path.write_text(
            yaml.safe_dump({"shared": shared.name, "catchment": f"cat-{k + 7}"}), encoding="utf-8"
        )
        return path

    return write


def runoff(bmi_run, path, weather, seed, steps=25):
    """Runoff of a component of one catchment from its own instance to its end."""
    bmi = bmi_run.start(path)
    series = weather(steps, 1, seed=seed)
    result = bmi_run.drive(bmi, series, range(steps), ("Q",))["Q"]
    bmi.finalize()
    return result


def test_threads_with_instances_of_their_own_do_not_disturb_each_other(configure, bundles, bmi_run, weather):
    path = configure(bundles("lstm"))
    alone = [runoff(bmi_run, path, weather, seed) for seed in range(8)]
    together = Barrier(4)

    def work(seed):
        together.wait(timeout=60)
        return runoff(bmi_run, path, weather, seed)

    with ThreadPoolExecutor(4) as pool:
        for actual, expected in zip(pool.map(work, range(8)), alone, strict=True):
            np.testing.assert_array_equal(actual, expected)


def test_threads_step_members_of_one_group_as_each_is_stepped_alone(member, bmi_run, weather):
    """At different paces; also after threads that have ended, whose idents are handed out again."""
    paths = [member(k) for k in range(6)]

    def work(mine):
        instances = [bmi_run.start(path) for path in mine]
        weathers = [weather(20, 1, seed=paths.index(path)) for path in mine]
        series = []
        for step in range(20):
            for bmi, given in zip(instances, weathers, strict=True):
                bmi_run.push(bmi, given, step)
                bmi.update()
            series.append([float(bmi.get_value_ptr("Q")[0]) for bmi in instances])
        return np.array(series).T, instances

    alone = []
    for path in paths:
        series, instances = work([path])
        alone.append(series[0])
        instances[0].finalize()
    del instances
    together = Barrier(3)

    def beside(mine):
        together.wait(timeout=60)
        return work(mine)

    with ThreadPoolExecutor(3) as pool:
        results = [*pool.map(beside, (paths[:2], paths[2:4], paths[4:]))]
    made = [bmi for _, instances in results for bmi in instances]
    assert len({id(bmi.component.group) for bmi in made}) == 1
    for actual, expected in zip(np.concatenate([series for series, _ in results]), alone, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-9)


def test_two_threads_cannot_own_one_catchment(member, bmi_run):
    bmi = bmi_run.start(member(0))
    with ThreadPoolExecutor(1) as pool, pytest.raises(AttributeTableError, match="finalize it first"):
        pool.submit(bmi_run.start, member(0)).result()
    bmi.finalize()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_a_forked_process_goes_on_from_a_state_of_its_own(configure, bundles, bmi_run, weather):
    """As framework workers are made: initialized once, then forked."""
    bmi = bmi_run.start(configure(bundles("lstm"), 2))
    series = weather(30, 2)
    bmi_run.drive(bmi, series, range(10))
    receive, send = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            os.close(receive)
            result = bmi_run.drive(bmi, series, range(10, 30), ("Q",))["Q"]
            with os.fdopen(send, "wb") as pipe:
                pickle.dump(result, pipe)
        finally:
            os._exit(0)
    os.close(send)
    # The parent is ahead, goes elsewhere, and is not disturbed.
    other = {name: values[::-1].copy() for name, values in series.items()}
    before = bmi.component.save()
    bmi_run.drive(bmi, other, range(5))
    with os.fdopen(receive, "rb") as pipe:
        of_child = pickle.load(pipe)
    os.waitpid(child, 0)
    again = bmi_run.start(configure(bundles("lstm"), 2))
    again.component.load(before)
    np.testing.assert_array_equal(bmi_run.drive(again, series, range(10, 30), ("Q",))["Q"], of_child)


def test_an_instance_made_in_one_thread_may_be_stepped_in_another(configure, bundles, bmi_run, weather):
    path = configure(bundles("lstm"))
    expected = runoff(bmi_run, path, weather, 1)
    bmi: DeltaModelBmi = bmi_run.start(path)
    series = weather(25, 1, seed=1)
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(bmi_run.drive, bmi, series, range(25), ("Q",)).result()["Q"]
    np.testing.assert_array_equal(result, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
@pytest.mark.parametrize("made", ["before", "after"])
def test_several_threads_do_not_hang_in_a_forked_process(configure, bundles, bmi_run, weather, made):
    path = configure(bundles("lstm"), 600, threads=2)
    series = weather(4, 600)
    bmi = bmi_run.start(path)
    bmi_run.drive(bmi, series, range(2))  # the pool of threads is there
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            mine = bmi if made == "before" else bmi_run.start(path)
            bmi_run.drive(mine, series, range(2, 4) if made == "before" else range(4))
            os._exit(7)
        finally:
            os._exit(1)
    end = time.monotonic() + 60
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < end:
        time.sleep(0.05)
    if ended[0] == 0:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    torch.set_num_threads(1)
    assert os.waitstatus_to_exitcode(ended[1]) == 7
