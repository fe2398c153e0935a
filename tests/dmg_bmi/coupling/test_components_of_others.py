"""Components of others, coupled: exchanges, what cannot be meant, and whatever they do."""

import sys
import textwrap
from importlib import import_module

import numpy as np
import pytest
from coupled_folders import write

from dmg_bmi.cli import main
from dmg_bmi.cli.couple import couple
from dmg_bmi.coupling import Coupling, CouplingConfig
from dmg_bmi.errors import ConfigError, DmgBmiError
from dmg_bmi.io import netcdf

TANKS = '''
import numpy as np

class Tank:
    """Adds what comes in to what it holds; as little of a BMI as a coupled run asks for."""

    STEP, UNITS, IN, OUT, N = 1.0, "h", "m3", "m3", 2

    def initialize(self, config):
        self.values = {"inflow": np.zeros(self.N), "level": np.zeros(self.N), "k": np.zeros(self.N)}

    def get_component_name(self): return "tank"
    def get_input_var_names(self): return ("inflow",)
    def get_output_var_names(self): return ("level", "k")
    def get_time_step(self): return self.STEP
    def get_time_units(self): return self.UNITS
    def get_var_units(self, name): return {"inflow": self.IN, "level": self.OUT, "k": "1"}[name]
    def get_var_nbytes(self, name): return self.values[name].nbytes
    def get_var_itemsize(self, name): return 8
    def get_var_type(self, name): return "float64"
    def get_value(self, name, dest):
        dest[:] = self.values[name]
        return dest
    def set_value(self, name, src): self.values[name][:] = src
    def update(self):
        self.values["k"] += 1
        self.values["level"] += self.values["inflow"]
    def finalize(self): pass

class Source(Tank):
    """Gives 1, 2, 3, ... (and ten times that) in steps of 20 minutes."""

    STEP, UNITS = 20.0, "min"

    def get_input_var_names(self): return ()
    def update(self):
        self.values["k"] += 1
        self.values["level"][:] = self.values["k"] * [1.0, 10.0]

class Three(Tank):
    N = 3

class Depth(Source):
    OUT = "mm"

class Rate(Tank):
    IN = "m3 s-1"

class Warm(Tank):
    IN = "K"

class Celsius(Source):
    OUT = "degC"

class Slow(Source):
    STEP, UNITS = 1.0, "h"

    def update(self):
        self.values["level"] += 1.0

class Quick(Tank):
    STEP, UNITS = 20.0, "min"

class Bursts(Tank):
    def update(self):
        raise RuntimeError("it has burst")

class Leaves(Tank):
    def update(self):
        raise SystemExit(3)

class NeverMade(Tank):
    def __init__(self):
        raise KeyError("no licence")

class NeverReady(Tank):
    def initialize(self, config):
        import sys
        sys.exit("no input")

class Timeless(Tank):
    def get_time_step(self): return None

class Still(Tank):
    STEP = 0.0

class Nameless(Tank):
    def get_input_var_names(self): return None

class Odd(Tank):
    def get_var_type(self, name): return "no such type"

class Sizeless(Tank):
    def get_var_itemsize(self, name): return 0

class Deaf(Tank):
    def set_value(self, name, src): raise TypeError("not so")

class Mute(Tank):
    def get_value(self, name, dest): return "nothing"

class Silent(Tank):
    """Fills what it is given and returns nothing."""

    def get_value(self, name, dest):
        dest[:] = self.values[name]

class Stays(Tank):
    def finalize(self): raise RuntimeError("it will not go")

class StaysAndBursts(Stays, Bursts): pass

class StayingSource(Stays, Source): pass
'''


@pytest.fixture
def tanks(tmp_path, monkeypatch):
    """A function that couples two of them; steps, and the models after a run of some hours."""
    (tmp_path / "tanks.py").write_text(textwrap.dedent(TANKS))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "none.yaml").touch()

    def run(source="Source", target="Tank", hours=2, order=("a", "b"), parts=None, **exchange):
        both = {"a": source, "b": target}
        components = {
            name: {"bmi": f"tanks:{both[name]}", "config": "none.yaml", **(parts or {}).get(name, {})}
            for name in order
        }
        content = {"start_time": "2000-01-01", "end_time": hours * 3600.0, "components": components}
        content["exchanges"] = [{"source": "a.level", "target": "b.inflow", **exchange}]
        coupling = Coupling(CouplingConfig.read(write(tmp_path / "tanks.yaml", content)))
        given = [coupling.advance() for _ in range(coupling.steps)]
        return coupling.components["b"].read("inflow"), given

    return run


def test_several_steps_of_a_source_are_averaged_or_summed(tanks):
    inflow, given = tanks()
    assert inflow.tolist() == [5.0, 50.0]  # the mean of 4, 5, 6
    assert [len(step["a"]) for step in given] == [3, 3]
    inflow, _ = tanks(join="sum")
    assert inflow.tolist() == [15.0, 150.0]


def test_a_slower_source_holds_for_all_steps_of_its_target(tanks):
    """The tank gives its target, three times as fast, what it holds after its own step."""
    inflow, given = tanks(source="Slow", target="Quick")
    assert inflow.tolist() == [2.0, 2.0]
    assert [len(step["b"]) for step in given] == [3, 3]
    assert given[1]["b"][-1]["level"].tolist() == [9.0, 9.0]  # three times 1, then three times 2
    inflow, _ = tanks(source="Slow", target="Quick", join="sum")
    np.testing.assert_allclose(inflow, 2.0 / 3.0, rtol=1e-15)


def test_what_goes_up_the_order_arrives_a_step_later(tanks):
    inflow, _ = tanks(order=("b", "a"))
    assert inflow.tolist() == [2.0, 20.0]  # of the first hour: the mean of 1, 2, 3


def test_an_amount_becomes_a_rate_by_the_step_of_its_source(tanks):
    inflow, _ = tanks(target="Rate")
    np.testing.assert_allclose(inflow, np.array([5.0, 50.0]) / 1200.0, rtol=1e-15)
    inflow, _ = tanks(source="Depth", target="Rate", area=[2.0, 3.0])
    np.testing.assert_allclose(inflow, np.array([5.0e3 * 2, 50.0e3 * 3]) / 1200.0, rtol=1e-14)
    inflow, _ = tanks(source="Depth", area=2.0)
    np.testing.assert_allclose(inflow, [1e4, 1e5], rtol=1e-14)


def test_levels_are_converted_with_their_offset(tanks):
    inflow, _ = tanks(source="Celsius", target="Warm")
    np.testing.assert_allclose(inflow, [278.15, 323.15], rtol=1e-14)


def test_a_map_shares_out_and_adds_up(tanks, tmp_path):
    (tmp_path / "map.csv").write_text("source,target,share\nx,2,0.25\nx,0,0.75\ny,2,1\n")
    (tmp_path / "ids.csv").write_text("id\nx\ny\n")
    inflow, _ = tanks(target="Three", map="map.csv", parts={"a": {"ids": "ids.csv"}})
    np.testing.assert_allclose(inflow, [3.75, 0.0, 51.25])


def test_items_meet_by_id_whatever_their_order(tanks, tmp_path):
    (tmp_path / "ids.csv").write_text("id\nx\ny\n")
    (tmp_path / "other.csv").write_text("id\ny\nz\nx\n")
    inflow, _ = tanks(target="Three", parts={"a": {"ids": "ids.csv"}, "b": {"ids": "other.csv"}})
    assert inflow.tolist() == [50.0, 0.0, 5.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "Three"}, "2 items for 3, and ids are not known"),
        ({"source": "Depth"}, r"'mm' cannot be converted to 'm3'.*a depth needs `area`"),
        ({"source": "a.nothing"}, "a has no variable 'nothing'"),
        ({"source": "c.level"}, "must be component.variable; components are a, b"),
        ({"target": "b.level"}, "level is not an input of b"),
        ({"area": [1.0] * 3}, "area must be 2 numbers above 0"),
        ({"area": -1.0}, "area must be 2 numbers above 0"),
        ({"map": "half.csv"}, "the shares of 0 add up to 0.5, not to 1"),
        ({"map": "away.csv"}, "b has no item '7'"),
        ({"map": "bad.csv"}, "requires columns source and target; it has from"),
        ({"join": "max"}, r"exchanges\[0\]\.join' must be one of mean, sum"),
    ],
)
def test_an_exchange_that_cannot_be_meant_is_refused(tanks, tmp_path, options, message):
    (tmp_path / "half.csv").write_text("source,target,share\n0,0,0.5\n1,1,1\n")
    (tmp_path / "away.csv").write_text("source,target\n0,7\n")
    (tmp_path / "bad.csv").write_text("from\n1\n")
    options = dict(options)
    classes = {k: options.pop(k) for k in ("source", "target") if "." not in options.get(k, ".")}
    content = {"source": "a.level", "target": "b.inflow"} | options
    with pytest.raises(ConfigError, match=message):
        run_tanks(tmp_path, classes, [content])


def run_tanks(folder, classes, exchanges, **keys):
    both = {"a": classes.get("source", "Source"), "b": classes.get("target", "Tank")}
    components = {name: {"bmi": f"tanks:{cls}", "config": "none.yaml"} for name, cls in both.items()}
    content = {
        "start_time": "2000-01-01",
        "end_time": 7200.0,
        "components": components,
        "exchanges": exchanges,
    }
    path = write(folder / "tanks.yaml", content | keys)
    return couple(path, folder / "out")


EXCHANGE = {"source": "a.level", "target": "b.inflow"}


@pytest.mark.parametrize(
    ("exchanges", "keys", "message"),
    [
        ([EXCHANGE, dict(EXCHANGE)], {}, "b.inflow is the target of two of them"),
        ([], {}, "b: nothing provides inflow; add exchanges, or a forcing file"),
        ([EXCHANGE], {"end_time": 5000.0}, "not a whole number of steps of 3600 s"),
        ([EXCHANGE], {"end_time": "1999-01-01"}, "end_time is not after start_time"),
        ([EXCHANGE], {"components": {}}, "components: give at least one"),
        ([EXCHANGE], {"restart": {"write": "x.state"}}, r"a: cannot be saved by ngen::serialization_create"),
        ([EXCHANGE], {"steps": 3}, "unknown key 'steps'"),
    ],
)
def test_a_run_that_cannot_be_meant_is_refused(tanks, tmp_path, exchanges, keys, message):
    with pytest.raises(DmgBmiError, match=message):
        run_tanks(tmp_path, {}, exchanges, **keys)


@pytest.mark.parametrize("cls", ["tanks:Nothing", "no_such_package:Tank", "tanks", ":Tank"])
def test_a_class_that_is_not_there_is_named(tanks, tmp_path, cls):
    parts = {"a": {"bmi": cls, "config": "none.yaml"}}
    with pytest.raises(ConfigError, match=r"components\.a\.bmi: .* must be package\.module:Class"):
        run_tanks(tmp_path, {}, [], components=parts)


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        ("Bursts", r"b: update: RuntimeError: it has burst \(.*tanks\.py, line \d+\)"),
        ("Leaves", "b: update: SystemExit: 3"),
        ("NeverMade", r"b: tanks:NeverMade\(\): KeyError: 'no licence'"),
        ("NeverReady", "b: initialize: SystemExit: no input"),
        ("Timeless", "b: get_time_step: TypeError"),
        ("Still", "b: its time step is 0 s"),
        ("Nameless", "b: get_input_var_names gives None; it must give a tuple of names"),
        ("Odd", "b: 'level' has 16 bytes by 8 and is 'no such type'"),
        ("Sizeless", "b: 'level' has 16 bytes by 0 .* ZeroDivisionError"),
        ("Deaf", "b: set_value: TypeError: not so"),
        ("Mute", r"b: get_value\('level'\): ValueError"),
        ("Stays", "b: finalize: RuntimeError: it will not go"),
        ("StaysAndBursts", "b: update: RuntimeError: it has burst"),
    ],
)
def test_whatever_a_component_does_is_named_and_leaves_no_file(tanks, tmp_path, cls, message):
    with pytest.raises(DmgBmiError, match=message):
        run_tanks(tmp_path, {"target": cls}, [EXCHANGE])
    assert cls == "Stays" or not [*(tmp_path / "out").iterdir()]


def test_a_component_that_does_not_finalize_keeps_no_other_from_it(tanks, tmp_path, monkeypatch):
    import tanks as module

    gone = []
    monkeypatch.setattr(module.Tank, "finalize", lambda self: gone.append(type(self).__name__))
    with pytest.raises(DmgBmiError, match="a: finalize: RuntimeError: it will not go"):
        run_tanks(tmp_path, {"source": "StayingSource"}, [EXCHANGE])
    assert gone == ["Tank"]


def test_a_component_may_fill_what_it_is_given_and_return_nothing(tanks):
    assert tanks(target="Silent")[0].tolist() == tanks()[0].tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(: x", "SyntaxError: "),
        ("import sys\nsys.exit(4)", r"SystemExit: 4 \(.*line 2\)"),
        ("1 / 0", r"ZeroDivisionError: division by zero \(.*line 1\)"),
        ("import pytest\npytest.skip('no licence', allow_module_level=True)", "Skipped: no licence"),
        ("class Own(BaseException): pass\nraise Own('odd')", r"Own: odd \(.*line 2\)"),
        ("from nowhere import x", "ModuleNotFoundError: No module named 'nowhere'"),
        ("x = 1\0", r"\w+Error: source code string cannot contain null bytes"),
        ("def f(): f()\nf()", "RecursionError: "),
        ("raise ExceptionGroup('two', [ValueError()])", r"ExceptionGroup: two"),
        ("A = 3", "is not a class"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named_with_what_it_raised(
    tanks, tmp_path, monkeypatch, text, message
):
    (tmp_path / "bad_module.py").write_text(text, encoding="utf-8")
    parts = {"a": {"bmi": "bad_module:A", "config": "none.yaml"}}
    monkeypatch.delitem(sys.modules, "bad_module", raising=False)
    with pytest.raises(ConfigError, match=rf"components\.a\.bmi: bad_module:A: {message}"):
        run_tanks(tmp_path, {}, [], components=parts)


def test_the_command_runs_and_says_what_it_wrote(tanks, tmp_path, capsys, caplog):
    caplog.set_level("INFO")
    run_tanks(tmp_path, {}, [EXCHANGE])
    assert main(["couple", str(tmp_path / "tanks.yaml"), "--output", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert [line.rsplit("/", 1)[1] for line in said.out.split()] == ["a.nc", "b.nc"]
    assert "a is tanks:Source, configured by" in caplog.text
    assert netcdf.read(tmp_path / "out" / "b.nc").forcing["level"].tolist() == [[2.0, 20.0], [7.0, 70.0]]
    assert main(["couple", str(tmp_path / "nothing.yaml")]) == 2


@pytest.fixture
def change(tanks, monkeypatch):
    """A function that changes the class Tank for a test."""

    def run(**attributes):
        for name, value in attributes.items():
            monkeypatch.setattr(import_module("tanks").Tank, name, value, raising=False)

    return run


@pytest.mark.parametrize(
    ("units", "step"),
    [
        ("seconds since 1970-01-01 00:00:00.0 00:00", 3600.0),
        ("minutes since 2000-01-01 00:00:00", 60.0),
        ("Hours since 2000-01-01T00:00:00Z", 1.0),
        ("hour since 1901-01-01", 1.0),
        ("days since 1-1-1 00:00:0.0", 1 / 24),
    ],
)
def test_a_component_may_date_its_unit_of_time(tanks, change, units, step):
    change(STEP=step, UNITS=units)
    inflow, given = tanks("Slow", "Tank")
    assert inflow.tolist() == [2.0, 2.0]
    assert [len(step["b"]) for step in given] == [1, 1]


def test_a_component_at_another_date_than_the_run_is_told(tanks, change, caplog):
    change(UNITS="hours since 1999-12-31 -6:00", get_current_time=lambda self: 18.0)
    tanks("Slow", "Tank")
    assert "records carry the dates of the run" not in caplog.text
    change(get_current_time=lambda self: 19)
    tanks("Slow", "Tank")
    assert "b is at 2000-01-01T01:00:00, the run at 2000-01-01 00:00:00" in caplog.text


@pytest.mark.parametrize(
    ("units", "step"), [("months since 2000-01-01", 1.0), ("h", 0.0), ("h", float("nan"))]
)
def test_a_step_of_no_length_is_refused(tanks, change, units, step):
    change(STEP=step, UNITS=units)
    with pytest.raises(ConfigError, match=r"^b: (time units: unit 'months'|its time step is)"):
        tanks("Slow", "Tank")


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a/b", "a\\b", "..", "con", "a\n", " a", "x" * 300])
def test_the_name_of_a_component_stays_in_the_folder_of_outputs(tanks, tmp_path, name):
    with pytest.raises(ConfigError, match=r"components: .* cannot be part of a file's name"):
        run_tanks(tmp_path, {}, [], components={name: {"bmi": "tanks:Tank", "config": "none.yaml"}})
    assert not list(tmp_path.rglob("*.nc"))
