"""What ngen asks of an object, in its order, as recorded in ngen itself (main dd04bbc)."""

import json
import shutil

import pytest

RAIN = "atmosphere_water__liquid_equivalent_precipitation_rate"
WARM = "land_surface_air__temperature"
MASS = [f"ngen::mass_{what}" for what in ("in", "out", "stored", "leaked")]
#: A component that writes down each call; its runoff is the temperature, plus the parameter.
RECORDER = """
import json
import numpy as np

class Recorder:
    def __init__(self):
        self._time, self._calls, self._values = 0.0, [], {}

    def __getattribute__(self, name):
        if name.startswith("_"):
            return object.__getattribute__(self, name)
        def call(*given):
            self._calls.append(" ".join([name, *(str(g) for g in given if isinstance(g, str))]))
            return getattr(Recorder, name)(self, *given)
        return call

    def initialize(self, path):
        self._path = path
        self._about = json.load(open(path))
        for name in (*self._about["inputs"], *self._about["outputs"], *self._about.get("parameters", {})):
            self._values[name] = np.zeros(self._about.get("items", {}).get(name, 1))
        for name, value in self._about.get("mass", {}).items():
            self._values[name] = np.array([value])

    def finalize(self):
        json.dump({"calls": self._calls, "set": self._about.get("set", [])}, open(self._path + ".calls", "w"))

    def get_component_name(self): return "recorder"
    def get_time_units(self): return "s"
    def get_start_time(self): return 0.0
    def get_end_time(self): return 1e15
    def get_current_time(self): return self._time
    def get_time_step(self): return 3600.0
    def get_input_item_count(self): return len(self._about["inputs"])
    def get_input_var_names(self): return [*self._about["inputs"]]
    def get_output_item_count(self): return len(self._about["outputs"])
    def get_output_var_names(self): return [*self._about["outputs"]]
    def get_var_type(self, name): return "float64"
    def get_var_itemsize(self, name): return self._values[name].itemsize
    def get_var_nbytes(self, name): return self._values[name].nbytes
    def get_value_ptr(self, name): return self._values[name]

    def get_var_units(self, name):
        about = self._about
        return {**about["inputs"], **about["outputs"], **dict.fromkeys(about.get("mass", {}), "mm")}[name]

    def set_value(self, name, values):
        self._values[name] = values
        self._about.setdefault("set", []).append([name, values.tolist()])

    def get_value_at_indices(self, name, dest, indices):
        dest[:] = self._values[name][indices]

    def update(self):
        self._time += 3600.0
        total = sum(v[0] for n, v in self._values.items() if n in self._about["inputs"])
        for name in self._about["outputs"]:
            self._values[name] = self._values[name] * 0 + total
"""
BORN = """initialize get_time_units get_start_time
    get_output_item_count get_output_var_names get_output_item_count get_output_var_names"""
ASKED = "get_var_itemsize {0} get_var_units {0} get_var_type {0} get_var_nbytes {0}"
SET = "get_var_itemsize {0} get_var_type {0} get_var_nbytes {0} get_var_itemsize {0} set_value {0}"
KIND = "get_var_type {0} get_var_itemsize {0}"
READ = f"""get_output_item_count get_output_var_names {KIND} {KIND} get_input_item_count get_input_var_names
    get_var_type {{0}} get_value_at_indices {{0}} get_var_units {{0}}"""
POINTER = "get_var_itemsize {0} get_var_type {0} get_value_ptr {0}"
NOW = "get_current_time get_end_time get_current_time"
STEP = f"{NOW} get_input_item_count get_input_var_names {ASKED} {SET} get_time_step update"


@pytest.fixture
def record(small, ngen, tmp_path):
    """Make ``record(params, **about) -> (run, {catchment: recorded})``, over the five catchments."""

    def run(params=None, multi=None, second=None, hours=2, output=None, **about):
        config = tmp_path / "config"
        config.mkdir()
        shutil.copy(small.hydrofabric, config / "domain.gpkg")
        (config / "recorder.py").write_text(RECORDER)
        about = {"inputs": {WARM: "K"}, "outputs": {"runoff": "m"}} | about
        for name in small.ids:
            (config / f"{name}.json").write_text(json.dumps(about))
            (config / f"{name}.second.json").write_text(json.dumps(second or {}))
        own = {"python_type": "recorder.Recorder", "module_path": str(config), "model_type_name": "recorder",
               "init_config": "./config/{{id}}.json", "main_output_variable": "runoff"}  # fmt: skip
        formulation = {"name": "bmi_python", "params": own | (params or {})}
        if multi is not None:
            more = {"init_config": "./config/{{id}}.second.json", "main_output_variable": "flow"}
            modules = [formulation, {"name": "bmi_python", "params": own | more}][: 2 if second else 1]
            base = {"model_type_name": "both", "init_config": "", "main_output_variable": "runoff"}
            formulation = {"name": "bmi_multi", "params": {**base, "modules": modules, **multi}}
        forcing = {"path": str(small.forcing.parent / "forcing"), "file_pattern": "{{id}}.csv"}
        end = f"2015-12-01 {hours - 1:02d}:00:00"
        time = {"start_time": "2015-12-01 00:00:00", "end_time": end, "output_interval": 3600}
        document = {"global": {"formulations": [formulation], "forcing": forcing}, "time": time,
                    "output": {"root": "./outputs/ngen", **(output or {})}}  # fmt: skip
        (config / "realization.json").write_text(json.dumps(document))
        done = ngen(tmp_path)
        assert done.status == 0, done.stderr
        ends = {n: config / f"{n}.json.calls" for n in small.ids}
        return done, {name: json.loads(path.read_text()) for name, path in ends.items()}

    return run


def check(recorded, *parts):
    """The calls of a catchment, but for the path, are these."""
    calls = [word for line in recorded["calls"] for word in line.split() if not word.startswith("./")]
    assert calls == [*" ".join(parts).split(), "finalize"]


def test_a_module_is_asked_this_and_nothing_else(record, small):
    recorded = record()[1]
    once = f"{STEP.format(WARM)} {READ.format('runoff')} {READ.format('runoff')}"
    for name in small.ids:
        check(recorded[name], BORN, "get_var_units runoff", once, once)
        assert recorded[name]["calls"][0] == f"initialize ./config/{name}.json"


def test_inputs_are_asked_and_set_one_by_one_but_where_metadata_are_cached(record, small):
    two = {"inputs": {WARM: "K", RAIN: "mm s-1"}}
    ask, put = (" ".join(part.format(name) for name in two["inputs"]) for part in (ASKED, SET))
    recorded = record({"cache_input_variable_metadata": True}, **two)[1]
    read = READ.format("runoff")
    first = f"{NOW} get_input_item_count get_input_var_names {ask} {put} get_time_step update {read} {read}"
    check(
        recorded[small.ids[0]],
        BORN,
        "get_var_units runoff",
        first,
        f"{NOW} {put} get_time_step update {read} {read}",
    )


def test_the_balance_is_asked_between_the_main_output_and_the_columns_and_keeps_its_signs(record, small):
    mass = dict(zip(MASS, (5.0, 2.0, -3.0, 0.0), strict=True))
    run, recorded = record({"mass_balance": {"tolerance": 1e-9}}, hours=1, mass=mass)
    asked = " ".join(f"{POINTER.format(name)} get_var_units {name}" for name in MASS)
    due = " ".join(POINTER.format(name) for name in MASS) + " get_component_name"
    read = READ.format("runoff")
    check(recorded[small.ids[0]], BORN, asked, "get_var_units runoff", STEP.format(WARM), read, due, read)
    assert run.stderr.count("mass_balance") >= len(small.ids)


def test_an_alias_names_the_main_output_and_columns(record, small):
    params = {"variables_names_map": {"runoff": "QINSUR"}, "main_output_variable": "QINSUR"}
    run, _ = record({**params, "output_variables": ["QINSUR", "runoff"]})
    for row in run.catchment(small.ids[0]):
        assert row["QINSUR"] == row["runoff"] != "0"


@pytest.mark.parametrize(
    ("given", "handed"),
    [
        (3, [3.0]),
        ("2.5", [2.5]),
        ([[1], [2, 3]], [1.0]),
        ([1, "a", True, "4"], [1.0]),
        (["a", 7], [7.0]),
        ("a", None),
        (True, None),
        (None, None),
        ([], None),
        (["a"], None),
        ({"a": 1}, None),
        ({"source": "hydrofabric", "from": "none"}, None),
    ],
)
def test_parameters_are_the_numbers_that_are_found(record, small, given, handed):
    run, recorded = record({"model_params": {"b": given}}, hours=1, parameters={"b": "1"})
    found = [values for name, values in recorded[small.ids[0]]["set"] if name == "b"]
    assert found == ([handed] if handed else [])
    assert ("Cannot pass" in run.stdout + run.stderr) == (handed is None)


def test_modules_share_arrays_and_a_later_one_is_looked_back_on(record, small):
    second = {"inputs": {"runoff": "mm"}, "outputs": {"flow": "m"}, "items": {"runoff": 2}}
    defaults = [{"name": "flow", "value": 0.25}]
    run, recorded = record(
        multi={"output_variables": ["runoff", "flow"], "default_output_values": defaults},
        second=second, inputs={WARM: "K", "flow": "m"}, items={"runoff": 2},
    )  # fmt: skip
    name = small.ids[0]
    values = dict.fromkeys([WARM, "flow"])
    for key in values:
        values[key] = [given[0] for each, given in recorded[name]["set"] if each == key]
    rows = run.catchment(name)
    assert values["flow"] == [0.25, pytest.approx(float(rows[0]["flow"]))]
    runoff = [sum(pair) for pair in zip(values[WARM], values["flow"], strict=True)]
    assert [float(row["runoff"]) for row in rows] == pytest.approx(runoff)
    assert [float(row["flow"]) for row in rows] == pytest.approx([1000.0 * value for value in runoff])
    assert "broadcasting" not in run.stderr
    first = json.loads((run.folder / "config" / f"{name}.json.calls").read_text())["calls"]
    assert "get_value_ptr runoff" in first


def test_a_forcing_among_the_columns_of_a_bmi_multi_is_that_of_the_next_hour(record, small):
    run, recorded = record(multi={"output_variables": [WARM, "runoff"]}, hours=3)
    for name in small.ids:
        rows = run.catchment(name)
        ahead = [float(row["runoff"]) for row in rows[1:]]
        assert [float(row[WARM]) for row in rows] == [*ahead, ahead[-1]]
        assert recorded[name]["calls"].count("get_end_time") == 6


def test_one_file_of_all_catchments_is_written_hour_by_hour(record, small):
    run, _ = record(hours=3, output={"catchment": {"grouping": "per_formulation"}})
    lines = run.files()["cat_output.csv"].decode().splitlines()
    assert lines[0] == "catchment_id,Time Step,Time,runoff"
    assert [line.split(",")[1] for line in lines[1:]] == [str(step) for step in range(3) for _ in small.ids]


def test_without_files_of_catchments_their_columns_are_not_read(record, small):
    run, recorded = record(hours=1, output={"catchment": {"enable": False}})
    check(recorded[small.ids[0]], BORN, STEP.format(WARM), READ.format("runoff"))
    assert not [name for name in run.files() if name.startswith("cat-")]
