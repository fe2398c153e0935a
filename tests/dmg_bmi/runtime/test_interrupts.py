"""A call that is interrupted anywhere has changed nothing, or all that it should."""

import random
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from faults import ALL

import dmg_bmi
from dmg_bmi import physics
from dmg_bmi.errors import StateError
from dmg_bmi.runtime import state_codec

pytestmark = pytest.mark.slow

CODE = (str(Path(dmg_bmi.__file__).parent), str(Path(physics.__file__).parent))
#: Every so many lines of a call are interrupted; all with DMG_BMI_FAULTS=all.
STRIDE = 1 if ALL else 17


class Interrupt(BaseException):
    """Neither an Exception nor what anything expects."""


class At:
    """Raises where the n-th line of the package's code would run; counts them for n = 0."""

    def __init__(self, n: int) -> None:
        self.n, self.count, self.raised = n, 0, False

    def _trace(self, frame, event, _):
        if not frame.f_code.co_filename.startswith(CODE) or frame.f_code.co_name == "_revert":
            return None
        if event == "line":
            self.count += 1
            if self.count == self.n:
                self.raised = True
                sys.settrace(None)
                raise Interrupt
        return self._trace

    def run(self, call):
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            call()
        except Interrupt:
            pass
        finally:
            sys.settrace(before)
        return self


@pytest.fixture(params=["daily", "pushed", "hold", "own", "member", "pushed, no budget", "own, no budget"])
def make(request, configure, bundles, weather, tmp_path, write_store):
    """Make ``make() -> bmi`` of a component in mid-run, ``push(bmi)`` of its next forcing, and its steps."""
    kind, _, without_budget = request.param.partition(", ")
    n, step = (1, 86400.0) if kind == "member" else (2, 86400.0 if kind in ("daily", "hold") else 21600.0)
    keys = {"time_step": step}
    if kind == "hold":
        keys["missing_forcing"] = "hold"
    if kind == "own":
        keys |= {"start_time": "2001-05-01", "forcing": str(write_store(tmp_path / "store", 30, n))}
    path = configure(bundles("lstm"), n, **keys)
    if kind == "member":
        shared, path = path, path.with_name("member.yaml")
        path.write_text(yaml.safe_dump({"shared": shared.name, "catchment": "cat-7"}))
    series = weather(60, n, step=step)

    def start(bmi_run, done):
        bmi = bmi_run.start(path)
        if not without_budget:
            bmi.component.open_budget()
        for k in range(done):
            if kind != "own":
                bmi_run.push(bmi, series, k)
            bmi.update()
        if kind != "own":
            bmi_run.push(bmi, series, done)
        return bmi

    return start


@pytest.fixture
def write_store():
    """Write a store of daily forcing from 2001-05-01 on."""

    def write(folder, days, n):
        folder.mkdir()
        rng = np.random.default_rng(3)
        values = {
            "P": 20 * rng.random((days, n)),
            "T": 4 + 9 * rng.random((days, n)),
            "PET": rng.random((days, n)),
        }
        units = {"P": "mm d-1", "T": "degC", "PET": "mm d-1"}
        index = {"ids": [f"cat-{k + 7}" for k in range(n)], "start_time": "2001-05-01", "step": 86400.0}
        index["variables"] = {name: {"file": f"{name}.npy", "units": units[name]} for name in values}
        for name, series in values.items():
            np.save(folder / f"{name}.npy", series)
        (folder / "forcing.yaml").write_text(yaml.safe_dump(index))
        return folder

    return write


def saved(bmi):
    """The state as a file would hold it."""
    header, tensors = state_codec.decode(bmi.component.save())
    return [header], [tensors[name].numpy() for name in sorted(tensors)]


def all_of(bmi):
    """What a component holds and shows."""
    budget, (header, state) = bmi.component._budget, saved(bmi)
    shown = [bmi.get_value_ptr(name).copy() for name in bmi.get_output_var_names()]
    booked = []
    if budget is not None:
        booked = [a.copy() for a in (budget.mass_in, budget.mass_out, budget.stored, budget.mass_leaked)]
    return [bmi.get_current_time(), *header], [*shown, *booked, *state]


def same(one, other):
    pairs = zip(one[1], other[1], strict=True)
    return one[0] == other[0] and all(
        np.allclose(a, b, rtol=1e-12, atol=1e-12, equal_nan=True) for a, b in pairs
    )


CALLS = {
    "update": lambda bmi: bmi.update(),
    "update_until": lambda bmi: bmi.update_until(bmi.get_current_time() + 3 * bmi.get_time_step()),
    "set_value of a state": lambda bmi: bmi.set_value(
        "phy.SM", np.full(bmi.get_value_ptr("phy.SM").size, 77.0)
    ),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("done", [4, 5, 7])
def test_an_interrupt_at_any_line_leaves_the_state_before_or_after(make, bmi_run, call, done):
    act = CALLS[call]
    bmi = make(bmi_run, done)
    before = all_of(bmi)
    lines = At(0).run(lambda: act(bmi)).count
    after = all_of(bmi)
    assert not same(before, after)
    bmi.finalize()
    apart = tried = 0
    for n in range(1, lines + 1, STRIDE):
        bmi = make(bmi_run, done)
        at = At(n).run(lambda bmi=bmi: act(bmi))
        found = all_of(bmi)
        tried += at.raised
        if not same(found, before) and not same(found, after):
            apart += 1
        elif same(found, before):
            act(bmi)
            assert same(all_of(bmi), after)
        bmi.finalize()
    assert tried >= min(lines // STRIDE, 5)
    assert apart == 0


def test_an_interrupt_at_any_line_of_a_restore_leaves_the_state_before_or_after(configure, weather, bmi_run):
    series = weather(20, 2)
    first = bmi_run.start(configure(n=2))
    bmi_run.drive(first, series, range(9))
    content, after = first.component.save(), saved(first)
    n, finished = 0, False
    while not finished:
        bmi = bmi_run.start(configure(n=2))
        bmi_run.drive(bmi, {name: values[::-1].copy() for name, values in series.items()}, range(3))
        before = all_of(bmi)
        n += STRIDE
        finished = not At(n).run(lambda bmi=bmi: bmi.component.load(content)).raised
        assert same(saved(bmi), after) or same(all_of(bmi), before)
    assert same(saved(bmi), after)
    assert n > 10 * STRIDE


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers")
def test_real_signals_never_repeat_or_skip_a_step(configure, weather, bmi_run):
    series = weather(40, 1)
    alone = bmi_run.drive(bmi_run.start(configure()), series, range(40), ("Q",))["Q"]
    rng = random.Random(5)
    interrupted = 0
    old = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for _ in range(12):
            bmi = bmi_run.start(configure())
            found = []
            while len(found) < 40:
                step = round(bmi.get_current_time() / bmi.get_time_step())
                if step > len(found):  # the interrupt came after all was done
                    found.append(float(bmi.get_value_ptr("Q")[0]))
                    continue
                bmi_run.push(bmi, series, step)
                try:
                    signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, 2e-3))
                    bmi.update()
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except KeyboardInterrupt:
                    interrupted += 1
                    continue
                found.append(float(bmi.get_value_ptr("Q")[0]))
            np.testing.assert_array_equal(np.array(found), alone.ravel())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert interrupted > 20


def test_a_periodic_save_that_fails_undoes_the_step(configure, weather, bmi_run, tmp_path):
    series = weather(10, 1)
    alone = bmi_run.drive(bmi_run.start(configure()), series, range(10), ("Q",))["Q"]
    bmi = bmi_run.start(configure(restart={"write": "gone/run.state", "every": 2 * 86400.0}))
    found = [bmi_run.drive(bmi, series, range(1), ("Q",))["Q"]]
    bmi_run.push(bmi, series, 1)
    for _ in range(3):
        with pytest.raises(StateError, match="cannot be written"):
            bmi.update()
        assert bmi.get_current_time() == 86400.0
    bmi.component.config.restart.write.parent.mkdir()
    found.append(bmi_run.drive(bmi, series, range(1, 10), ("Q",))["Q"])
    np.testing.assert_array_equal(np.concatenate(found), alone)


def test_threads_that_step_and_read_one_group_wait_for_each_other(configure, bundles, bmi_run, weather):
    """A reader that comes in mid-step sees the state before or after it."""
    shared = configure(bundles("lstm"), 4)
    paths = [shared.with_name(f"m{k}.yaml") for k in range(4)]
    for k, path in enumerate(paths):
        path.write_text(yaml.safe_dump({"shared": shared.name, "catchment": f"cat-{k + 7}"}))
    made = [bmi_run.start(path) for path in paths]
    series = weather(60, 1)
    problems, done = [], threading.Event()

    def step(bmi):
        try:
            bmi_run.drive(bmi, series, range(60))
        except Exception as problem:
            problems.append(problem)

    def read():
        while not done.is_set():
            for bmi in made:
                header, _ = state_codec.decode(bmi.component.save())
                assert header["ids"] == list(bmi.component.ids)
            time.sleep(0)

    reader = threading.Thread(target=read)
    steppers = [threading.Thread(target=step, args=(bmi,)) for bmi in made]
    for thread in (reader, *steppers):
        thread.start()
    for thread in steppers:
        thread.join(60)
    done.set()
    reader.join(60)
    assert not problems
    alone = bmi_run.start(shared)
    bmi_run.drive(alone, {name: np.repeat(values, 4, axis=1) for name, values in series.items()}, range(60))
    found = [bmi.get_value_ptr("Q")[0] for bmi in made]
    np.testing.assert_allclose(found, alone.get_value_ptr("Q"), rtol=1e-5, atol=1e-9)
