"""Sequences of BMI calls, in any order and with anything for arguments, against the reference."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from bmi_reference import DAY, GIVEN, SAVING, Due, Reference, Setup, loaded
from hypothesis import strategies as st

from dmg_bmi.bmi import DeltaModelBmi
from dmg_bmi.errors import DmgBmiError, GridError, VariableError

END = 12
VALUES = {"elev_mean": 640.0, "area": 320.0, "aridity": 0.8}
VALUES |= {"frac_snow": 0.2, "frac_forest": 0.6, "clay_frac": 18.0}
#: Bundle, catchments, steps per model step, start.
KINDS = (
    ("demo_daily", 1, 1, None),
    ("demo_daily", 3, 1, "2000-10-01"),
    ("demo_daily", 1, 4, "2000-10-01 12:00"),
    ("demo_daily", 2, 4, None),
    ("demo_hourly", 1, 1, None),
)
BAD = {
    "missing.yaml": None,
    "torn.yaml": "bundle: [demo_daily\n",
    "odd.yaml": "bundle: demo_daily\nengin: eager\n",
    "stranger.yaml": "bundle: no_such_bundle\n",
    "bare.yaml": "bundle: demo_daily\n",
    "empty.yaml": "",
}


def setups(folder: Path) -> list[Setup]:
    """Write the configurations into a folder."""
    for name, text in BAD.items():
        if text is not None:
            (folder / name).write_text(text, encoding="utf-8")
    made = []
    for k, (bundle, n, ratio, start) in enumerate(KINDS):
        table, model = loaded(bundle)
        names = [v.name for v in table if v.kind == "attribute"]
        attributes = {name: VALUES[name] * (1 + 0.05 * np.arange(n)) for name in names}
        area = 10.0 + np.arange(n)
        step = model.step / ratio
        config: dict[str, Any] = {
            "bundle": bundle,
            "engine": "eager",
            "time_step": step,
            "end_time": END * step,
            "catchments": {
                "ids": [f"cat-{i + 1}" for i in range(n)],
                "area": area.tolist(),
                "attributes": {name: values.tolist() for name, values in attributes.items()},
            },
        }
        if start:
            config["start_time"] = start
        path = folder / f"good-{k}.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        phase = 2 if start and ratio > 1 else 0
        made.append(Setup(path, bundle, n, step, END, bool(start), phase, attributes, area))
    return made


# -- what is called with what -------------------------------------------------------

TABLE, _ = loaded("demo_daily")
NAMES = [*sorted({v.symbol for v in TABLE} | {v.name for v in TABLE}), *GIVEN]
INPUTS = [v.symbol for v in TABLE if v.kind == "input"]
ODD_NAMES = ["", "no_such__name", "p", "\x00", "Ω", "ngen::", "phy.", None, 3, ("Q",)]
GOOD_RAIN = (0.0, 0.3, 12.0, 180.0)


def mostly(usual: list[Any], odd: list[Any]) -> st.SearchStrategy[Any]:
    """Three times out of four something usual, so that what comes after is not all refused."""
    return st.integers(0, 3).flatmap(lambda k: st.sampled_from(usual if k else odd))


names = mostly(NAMES, ODD_NAMES)
settable = mostly(
    [v.symbol for v in TABLE if v.kind in ("input", "attribute", "state", "multiplier")], [*NAMES, *ODD_NAMES]
)
extremes = mostly(
    [0.0, 0.3, 1.0, 2.5, 20.0],
    [np.nan, np.inf, -np.inf, 1e308, -1e308, 1e-320, -1.0, 1e31, 9999.0, -9999.0],
)
#: Turns a size and a value into what is handed over.
SHAPES = {
    "exact": lambda n, x: np.full(n, x),
    "float32": lambda n, x: np.full(n, np.clip(x, -3e38, 3e38), dtype=np.float32),
    "big_endian": lambda n, x: np.full(n, x, dtype=">f8"),
    "whole": lambda n, x: np.full(n, 7, dtype=np.int32),
    "unsigned": lambda n, x: np.full(n, 7, dtype=np.uint8),
    "strided": lambda n, x: np.full(2 * n, x)[::2],
    "column": lambda n, x: np.full((n, 1), x),
    "list": lambda n, x: [x] * n,
    "number": lambda n, x: x,
    "empty": lambda n, x: np.zeros(0),
    "longer": lambda n, x: np.full(n + 1, x),
    "text": lambda n, x: np.full(n, "wet"),
    "flags": lambda n, x: np.ones(n, dtype=bool),
    "objects": lambda n, x: np.full(n, None),
    "complex": lambda n, x: np.full(n, 1 + 1j),
    "ragged": lambda n, x: [[1.0], [1.0, 2.0]],
    "none": lambda n, x: None,
    "dates": lambda n, x: np.full(n, np.datetime64("2000-01-01")),
}
DESTS = {
    "exact": lambda n: np.full(n, -7.0),
    "float32": lambda n: np.full(n, -7.0, dtype=np.float32),
    "strided": lambda n: np.full(2 * n, -7.0)[::2],
    "row": lambda n: np.full((1, n), -7.0),
    "whole": lambda n: np.full(n, -7),
    "longer": lambda n: np.full(n + 1, -7.0),
    "empty": lambda n: np.zeros(0),
    "list": lambda n: [0.0] * n,
    "none": lambda n: None,
    "text": lambda n: np.full(n, "x"),
    "locked": lambda n: _locked(n),
}
INDICES = ([0], [1], [0, 0], [-1], [5], [0.0], [], [[0]], [2, 1, 0], [2**40], [True])
TIMES = ("now", "next", "third", "end", "beyond", "past", "between", "nan", "inf", "-inf", "huge", "negative")
METHODS = ("units", "type", "itemsize", "nbytes", "location", "grid")
GRIDS = ("type", "rank", "size", "node_count", "x", "shape", "edge_count", "face_nodes")

taken = ["exact", "exact", "exact", "float32", "big_endian", "whole", "strided", "column", "list"]
shapes = mostly(taken, [*SHAPES])
dests = mostly(["exact", "exact", "float32", "strided", "row"], [*DESTS])
chosen = mostly([[0], [0, 0], [], [[0]]], [*INDICES])
rarely = mostly(
    [("weather", 3.0, 11.0)],
    [("finalize",), *(("initialize", which) for which in (*range(len(KINDS)), *BAD))],
)
calls = st.one_of(
    st.tuples(st.just("weather"), st.sampled_from(GOOD_RAIN), st.sampled_from([-8.0, 1.5, 22.0])),
    st.tuples(st.just("update")),
    st.tuples(st.just("update")),
    st.tuples(st.just("update_until"), mostly(["next", "third", "now"], [*TIMES])),
    st.tuples(st.just("set"), settable, shapes, extremes),
    st.tuples(st.just("set_at"), settable, chosen, shapes, extremes),
    st.tuples(st.just("get"), names, dests),
    st.tuples(st.just("get_at"), names, dests, chosen),
    st.tuples(st.just("pointer"), names),
    st.tuples(st.just("ask"), st.sampled_from(METHODS), names),
    st.tuples(st.just("grid"), mostly([*GRIDS[:4]], [*GRIDS]), mostly([0], [1, -1, None])),
    st.tuples(st.just("protocol"), mostly(["create"], ["free", "size"]), shapes, extremes),
    st.tuples(st.just("restore"), mostly(["last", "first"], ["torn", "flipped", "empty", "foreign"])),
    rarely,
)


@st.composite
def sequences(draw: Any, length: int = 24) -> list[tuple[Any, ...]]:
    """Mostly begun with `initialize` and legal weather, so that what follows is not all refused."""
    first = draw(st.integers(0, 2 * len(KINDS)))
    begin = [] if first == 2 * len(KINDS) else [("initialize", first // 2), ("weather", 12.0, 8.0)]
    return begin + draw(st.lists(calls, min_size=4, max_size=length))


def _locked(n: int) -> np.ndarray:
    array = np.zeros(n)
    array.setflags(write=False)
    return array


# -- both, side by side -------------------------------------------------------------


class Pair:
    """A component and its reference, called alike and compared after each call."""

    def __init__(self, made: list[Setup]) -> None:
        self.setups = made
        self.bmi, self.reference = DeltaModelBmi(), Reference()
        self.held: dict[str, np.ndarray] = {}
        self.states: list[tuple[bytes, Reference]] = []
        #: Calls by name and whether they were answered or refused.
        self.calls: Counter[tuple[str, str]] = Counter()
        self.what = ""

    def play(self, sequence: list[tuple[Any, ...]]) -> None:
        """All calls, then the end."""
        try:
            for what, *arguments in sequence:
                self.what = what
                getattr(self, f"do_{what}")(*arguments)
                self.compare(what)
        finally:
            self.bmi.finalize()

    def both(self, expected: Any, call: Any) -> tuple[Any, Any, bool]:
        """Answers of the reference and of the component; both fail with a due error, or none does."""
        answer, actual, due, raised = None, None, (), None
        try:
            answer = expected()
        except Due as error:
            due = error.errors
        try:
            actual = call()
        except DmgBmiError as error:
            raised = error
        if raised is not None:
            assert isinstance(raised, due), f"{type(raised).__name__} is not due, but {due}: {raised}"
            assert len(str(raised)) > 10
        else:
            assert not due, f"one of {due} is due"
        self.calls[self.what, "refused" if due else "answered"] += 1
        return answer, actual, not due

    def size(self, name: object) -> int:
        try:
            return self.reference.value(name).size
        except Due:
            return 1

    def compare(self, what: str) -> None:
        reference, bmi = self.reference, self.bmi
        if reference.setup is None:
            self.held.clear()
            assert bmi.get_input_var_names() == bmi.get_output_var_names() == ()
            return
        assert bmi.get_current_time() == reference.count * reference.setup.step, what
        for name in reference.values:
            same(bmi.get_value_ptr(name), reference.values[name], f"{name} after {what}")
        for name, array in self.held.items():
            assert bmi.get_value_ptr(name) is array, f"{name} has moved by {what}"
            same(array, reference.value(name), f"{name}, held, after {what}")
        for v in reference.table:
            if v.kind == "state":
                same(bmi.component.values(v.symbol), reference.value(v.symbol), f"{v.symbol} after {what}")

    # -- calls ------------------------------------------------------------------------

    def do_initialize(self, which: int | str) -> None:
        folder = self.setups[0].path.parent
        if isinstance(which, int):
            self.held.clear()
            self.bmi.initialize(str(self.setups[which].path))
            self.reference.initialize(self.setups[which])
            return
        try:
            self.bmi.initialize(str(folder / which))
        except DmgBmiError:
            pass  # and the run that was goes on
        else:
            raise AssertionError(f"{which} is taken")

    def do_finalize(self) -> None:
        self.bmi.finalize()
        self.reference.finalize()

    def do_update(self) -> None:
        self.both(self.reference.update, self.bmi.update)

    def do_update_until(self, when: str) -> None:
        r = self.reference
        step, count = (DAY, 3) if r.setup is None else (r.setup.step, r.count)
        time = {
            "now": count * step,
            "next": (count + 1) * step,
            "third": (count + 3) * step,
            "end": END * step,
            "beyond": (END + 1) * step,
            "past": (count - 1) * step,
            "between": (count + 0.5) * step,
            "nan": np.nan,
            "inf": np.inf,
            "-inf": -np.inf,
            "huge": 1e300,
            "negative": -1e9 * step,
        }[when]
        self.both(lambda: r.update_until(time), lambda: self.bmi.update_until(time))

    def do_weather(self, rain: float, temperature: float) -> None:
        if self.reference.setup is None:
            return
        for name, value in (("P", rain), ("T", temperature), ("PET", 1.5)):
            values = np.full(self.reference.setup.n, value)
            self.reference.set_value(name, values)
            self.bmi.set_value(name, values)

    def do_set(self, name: object, shape: str, value: float) -> None:
        given = SHAPES[shape](self.size(name), value)
        before = np.array(given, copy=True) if isinstance(given, np.ndarray) else None
        self.both(lambda: self.reference.set_value(name, given), lambda: self.bmi.set_value(name, given))
        if before is not None and before.dtype.kind == "f":
            same(given, before, "the argument")

    def do_set_at(self, name: object, inds: list[Any], shape: str, value: float) -> None:
        given = SHAPES[shape](len(inds), value)
        where = np.array(inds)
        self.both(
            lambda: self.reference.set_at(name, where, given),
            lambda: self.bmi.set_value_at_indices(name, where, given),
        )

    def do_get(self, name: object, shape: str) -> None:
        dest = DESTS[shape](self.size(name))
        self._got(
            dest, self.both(lambda: self.reference.get(name, dest), lambda: self.bmi.get_value(name, dest))
        )

    def do_get_at(self, name: object, shape: str, inds: list[Any]) -> None:
        dest, where = DESTS[shape](len(inds)), np.array(inds)
        self._got(
            dest,
            self.both(
                lambda: self.reference.get_at(name, dest, where),
                lambda: self.bmi.get_value_at_indices(name, dest, where),
            ),
        )

    @staticmethod
    def _got(dest: Any, answers: tuple[Any, Any, bool]) -> None:
        expected, actual, fine = answers
        if fine:
            assert actual is dest
            same(
                dest.ravel(), expected.astype(dest.dtype), "dest", 1e-6 if dest.dtype == np.float32 else 1e-9
            )
        elif isinstance(dest, np.ndarray) and dest.dtype.kind == "f" and dest.flags.writeable:
            assert (dest == -7.0).all(), "dest is changed by a refused call"

    def do_pointer(self, name: object) -> None:
        expected, actual, fine = self.both(
            lambda: self.reference.value(name), lambda: self.bmi.get_value_ptr(name)
        )
        if fine:
            same(actual, expected, f"pointer of {name}")
            assert actual.ndim == 1
            assert actual.flags.c_contiguous
            v = self.reference.variable(name)
            if v is not None:
                self.held.setdefault(v.symbol if v.kind == "state" else v.name, actual)

    def do_ask(self, what: str, name: object) -> None:
        def expected() -> object:
            self.reference.variable(name)
            v = self.reference.known.get(name)
            size = self.reference.value(name).size
            return {
                "units": {GIVEN[0]: "1", GIVEN[1]: "km2"}[name] if v is None else v.units,
                "type": "int64" if name == GIVEN[0] else "float64",
                "itemsize": 8,
                "nbytes": 8 * size,
                "location": "node" if self.reference.ready().n == 1 else "none",
                "grid": 0,
            }[what]

        answer, actual, _ = self.both(expected, lambda: getattr(self.bmi, f"get_var_{what}")(name))
        assert answer == actual

    def do_grid(self, what: str, grid: object) -> None:
        answers = {"type": None, "rank": 0, "size": None, "node_count": None}

        def expected() -> object:
            n = self.reference.ready().n
            if grid != 0:
                raise Due(VariableError)
            if what not in answers:
                raise Due(GridError)
            return {"type": "scalar" if n == 1 else "none", "rank": 0}.get(what, n)

        arguments = () if what in answers or what == "edge_count" else (np.zeros(1),)
        answer, actual, _ = self.both(
            expected, lambda: getattr(self.bmi, f"get_grid_{what}")(grid, *arguments)
        )
        assert answer == actual

    def do_protocol(self, word: str, shape: str, value: float) -> None:
        given = SHAPES[shape](1, value)
        name = f"{SAVING}{word}"
        _, _, fine = self.both(
            lambda: self.reference.set_value(name, given), lambda: self.bmi.set_value(name, given)
        )
        if fine and word == "create":
            assert self.reference.saved is not None
            self.states.append((self.bmi.get_value_ptr(f"{SAVING}state").tobytes(), self.reference.saved))

    def do_restore(self, how: str) -> None:
        content, of = b"DMG_BMI_STATE\x00nothing", None
        if self.states and how != "foreign":
            content, of = self.states[0 if how == "first" else -1]
        if how == "torn":
            content, of = content[: len(content) // 2], None
        elif how == "flipped":
            middle = len(content) // 2
            content, of = content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :], None
        elif how == "empty":
            content, of = b"", None
        given = np.frombuffer(content, dtype=np.uint8)
        self.both(
            lambda: self.reference.restore(of, len(content)),
            lambda: self.bmi.set_value(f"{SAVING}state", given),
        )


def same(actual: Any, expected: Any, where: str, tolerance: float = 1e-9) -> None:
    """Equal but for rounding; NaN where NaN is."""
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=1e-12, err_msg=where)
