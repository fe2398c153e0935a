"""Instances in threads and in forked processes give the answers that they give alone."""

import os
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import yaml

from dmg_bmi.bmi import DeltaModelBmi


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


def test_threads_with_members_of_one_shared_configuration_have_groups_of_their_own(member, bmi_run, weather):
    """Even of the same catchments, at different paces."""
    paths = [member(k) for k in range(3)]

    def work(seed):
        instances = [bmi_run.start(path) for path in paths]
        weathers = [weather(20, 1, seed=seed + k) for k in range(3)]
        series = []
        for step in range(20):
            for bmi, given in zip(instances, weathers, strict=True):
                bmi_run.push(bmi, given, step)
                bmi.update()
            series.append([float(bmi.get_value_ptr("Q")[0]) for bmi in instances])
        groups = {id(bmi.component.group) for bmi in instances}
        for bmi in instances:
            bmi.finalize()
        return np.array(series), len(groups)

    alone = [work(seed) for seed in range(6)]
    together = Barrier(3)

    def beside(seed):
        together.wait(timeout=60)
        return work(seed)

    with ThreadPoolExecutor(3) as pool:
        for (actual, groups), (expected, _) in zip(pool.map(beside, range(6)), alone, strict=True):
            assert groups == 1
            np.testing.assert_array_equal(actual, expected)


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
