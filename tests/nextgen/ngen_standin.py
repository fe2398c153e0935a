"""A stand-in for NOAA-OWP/ngen: the calls it makes to a Python BMI object, in its order.

    python ngen_standin.py hydrofabric.gpkg realization.json [--order SEED] [--nexus-digits N] [--calls FILE]

Written from what ngen's source does and from what was observed of it (main of August 2026): array
kinds, accepted type strings, counts, units by UDUNITS, resampling of forcing, the mass-balance
protocol, flows at nexuses, files with ngen's precision, and how it dies. The text encoding is
ASCII and netCDF4 and h5py cannot be imported by the module, as inside ngen. It knows nothing of
the package under test.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import locale
import math
import os
import random
import sqlite3
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
from ngen_forcing import NUMBER, Abort, Provider, Units, make_provider, parse_time

LAYER_STEP = 3600
INPUT_TYPES = {
    ("int", 2): "int16", ("int", 4): "int32", ("int", 8): "int64", ("int16", 2): "int16",
    ("int32", 4): "int32", ("int64", 8): "int64", ("longlong", 8): "int64", ("float", 4): "float32",
    ("float", 8): "float64", ("float", 16): "longdouble", ("float32", 4): "float32",
    ("np.float32", 4): "float32", ("numpy.float32", 4): "float32", ("np.single", 4): "float32",
    ("numpy.single", 4): "float32", ("float64", 8): "float64", ("np.float64", 8): "float64",
    ("numpy.float64", 8): "float64",
}  # fmt: skip
OUTPUT_TYPES = ("float64", "float", "float32", "int")
NO_UNITS = ("", "-", "none", "unitless", "dimensionless")
MASS = ("ngen::mass_in", "ngen::mass_out", "ngen::mass_stored", "ngen::mass_leaked")


def warn(text: str) -> None:
    print(text, file=sys.stderr)


def numbers(value: object) -> list[float]:
    """The numbers of a parameter, also those written as text and in lists of lists; others are left out."""
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [float(value)] if not isinstance(value, bool) and NUMBER.fullmatch(str(value)) else []


class Adapter:
    """Bmi_Py_Adapter: what stands between the formulation and the Python object."""

    counted = False

    def __init__(self, params: dict, units: Units) -> None:
        self.units = units
        config = params["init_config"]  # handed over as it is written
        if not Path(config).is_file() and config != "/dev/null":
            raise Abort(f"init_config {config} cannot be read")
        module, dot, name = params["python_type"].rpartition(".")
        if not dot:
            raise Abort(f"python_type {name} has no module")
        try:
            self.model = getattr(importlib.import_module(module), name)()
            if Adapter.counted:
                self.model = Counted(self.model)
            self.model.initialize(config)
        except Exception as problem:  # the type is lost
            warn(str(problem))
            raise Abort("std::exception") from problem
        self.name = params.get("model_type_name", name)
        self.factor = units.seconds(self.model.get_time_units())

    def cxx_type(self, name: str) -> tuple[str, int]:
        """get_analogous_cxx_type of an input or parameter, and its itemsize."""
        size = int(self.model.get_var_itemsize(name))
        return self.cxx_of(self.model.get_var_type(name), size), size

    def cxx_of(self, kind: str, size: int) -> str:
        """The kind of array that a type string and an itemsize make."""
        if (kind, size) not in INPUT_TYPES:
            raise Abort(f"{self.name}: no analogous C++ type for {kind!r} of {size} bytes")
        return INPUT_TYPES[kind, size]

    def set_value(self, name: str, values: np.ndarray) -> None:
        """SetValue: asks itemsize, type, nbytes, itemsize; hands over a new owned array."""
        dtype, _ = self.cxx_type(name)
        count = int(self.model.get_var_nbytes(name)) // int(self.model.get_var_itemsize(name))
        given = np.empty(count, dtype=dtype)
        # What the configuration does not fill is memory that nobody set.
        given.view(np.uint8)[:] = 7
        given[1:] = np.array([4.7e-310]).astype(dtype) if given.dtype.kind == "f" else 0
        given[: len(values)] = np.asarray(values)[:count].astype(dtype)
        self.model.set_value(name, given)

    def output_names(self) -> list[str]:
        count = int(self.model.get_output_item_count())
        names = list(self.model.get_output_var_names())
        if len(names) > count:
            raise Abort("SIGSEGV: more output names than get_output_item_count says")
        if len(names) < count:
            raise Abort("empty output name: get_output_item_count says more than there are")
        return names

    def input_names(self) -> list[str]:
        count = int(self.model.get_input_item_count())
        names = list(self.model.get_input_var_names())
        if len(names) != count:
            raise Abort("get_input_item_count does not count get_input_var_names")
        return names

    def output(self, name: str) -> float:
        """One item of an output, with all that is asked on the way."""
        if name not in self.output_names():
            raise Abort(f"{name} is not an output of {self.name}")
        model = self.model
        for _ in range(2):
            kind, size = model.get_var_type(name), int(model.get_var_itemsize(name))
        if kind not in OUTPUT_TYPES:
            raise Abort(f"no logic for converting variable type {kind!r} of {name}")
        self.input_names()
        dest = np.zeros(1, dtype=model.get_var_type(name))
        if dest.itemsize != size:
            raise Abort(f"{name}: itemsize {size} is not that of {dest.dtype}")
        model.get_value_at_indices(name, dest, np.zeros(1, dtype=np.int32))  # what it returns is ignored
        return float(dest[0])

    def pointer(self, name: str) -> np.ndarray:
        """GetValue by get_value_ptr, into a buffer of get_var_nbytes."""
        dtype, _ = self.cxx_type(name)
        array = np.asarray(self.model.get_value_ptr(name))
        if array.ndim != 1:
            raise ValueError(f"array has incorrect number of dimensions: {array.ndim}; expected 1")
        return array.astype(dtype)

    def items(self, name: str, count: int) -> np.ndarray:
        """What another module of the catchment takes of an output: one item, or all of them."""
        if count == 1:
            return np.array([self.output(name)])
        if name not in self.output_names():
            raise Abort(f"{name} is not an output of {self.name}")
        self.model.get_var_nbytes(name)
        self.model.get_var_itemsize(name)
        self.model.get_var_type(name)
        return self.pointer(name)


class Protocol:
    """The mass_balance protocol of one module."""

    def __init__(self, config: dict | None, adapter: Adapter, id_: str) -> None:
        self.config = config
        self.adapter, self.id = adapter, id_
        self.on = bool(config and config.get("check", True) and config.get("frequency", 1))
        if not self.on:
            return
        try:
            units = set()
            for name in MASS:
                if adapter.pointer(name).size != 1:
                    raise Abort(f"{name}: smashes the stack")
                units.add(adapter.model.get_var_units(name))
            if len(units) != 1:
                raise ValueError("incosistent units")
        except Exception as problem:
            if isinstance(problem, Abort) and "stack" in str(problem):
                raise
            warn(f"Error(Integration)::mass_balance: {id_}, {adapter.model.get_component_name()}: {problem}")
            self.on = False

    def check(self, step: int, total: int) -> None:
        if not self.on:
            return
        frequency = self.config.get("frequency", 1)
        due = step == total if frequency < 0 else frequency > 0 and step % frequency == 0
        if not due:
            return
        mass_in, out, stored, mass_leaked = (float(self.adapter.pointer(name)[0]) for name in MASS)
        error = mass_in - out - stored - mass_leaked
        if math.isnan(error) or abs(error) > self.config.get("tolerance", 1e-16):
            name = self.adapter.model.get_component_name()
            text = f"mass_balance: at timestep {step} of {self.id}, {name}: error {error!r}"
            if self.config.get("fatal", False):
                raise Abort(text)
            warn(f"Warning(Protocol)::{text}")


class Module:
    """Bmi_Module_Formulation: one module of one catchment."""

    def __init__(self, id_: str, params: dict, properties: dict, world: World) -> None:
        self.id, self.world = id_, world
        for key, value in params.items():
            if value == {}:
                raise Abort(f"{key}: an empty object becomes an empty string")
        if params.get("uses_forcing_file") or params.get("forcing_file"):
            raise Abort("uses_forcing_file and forcing_file are not supported")
        self.params = {**params, "init_config": params["init_config"].replace("{{id}}", id_)}
        if "module_path" in params:
            if not Path(params["module_path"]).is_dir():
                raise Abort(f"module_path {params['module_path']} does not exist")
            sys.path.append(params["module_path"])
        self.adapter = Adapter(self.params, world.units)
        self.alias = params.get("variables_names_map", {})
        self.cache = params.get("cache_input_variable_metadata", False)
        self._known: list[tuple[str, str, int]] = []
        self._set_params(params.get("model_params", {}), properties)
        self.start = float(self.adapter.model.get_start_time())
        self.time_step: int | None = None
        self.columns = params.get("output_variables") or self.adapter.output_names()
        names = self.adapter.output_names()
        #: By each name an output is known by: the object's own.
        self.own = {self.alias.get(name, name): name for name in names} | {name: name for name in names}
        self.main = params.get("main_output_variable")
        self.protocol = Protocol(params.get("mass_balance"), self.adapter, id_)
        headers = params.get("output_header_fields", [])
        if headers and len(headers) != len(self.columns):
            warn(f"WARN: configured output headers have {len(headers)} fields; names are used")
        self.headers = headers if len(headers) == len(self.columns) else list(self.columns)

    def ask_header(self) -> None:
        """Units of the columns, under the names that the realization gives them."""
        for name in self.columns:
            with contextlib.suppress(Exception):  # in this place only
                self.adapter.model.get_var_units(name)

    def _set_params(self, given: dict, properties: dict) -> None:
        for name in sorted(given):
            value = given[name]
            if isinstance(value, dict):
                if value.get("source", "hydrofabric") != "hydrofabric":
                    raise Abort(f"model_params {name}: unknown source {value['source']}")
                value = properties.get(value.get("from", name), value) if "source" in value else value
            values = numbers(value)
            # Asked outside of any try block: a name that is not known ends the run.
            self.adapter.model.get_var_itemsize(name)
            self.adapter.model.get_var_nbytes(name)
            self.adapter.model.get_var_type(name)
            if not values:
                warn(f"Cannot pass parameter {name} of type {type(value).__name__}")
                continue
            try:
                self.adapter.set_value(name, np.asarray(values, dtype=float))
            except Exception as problem:
                warn(f"WARNING: Exception setting parameter value: {type(problem).__name__}: {problem}")
                warn(f"WARNING: Skipping parameter: {name}")

    def update(self, step: int) -> None:
        """One step of the layer."""
        adapter, model, world = self.adapter, self.adapter.model, self.world
        delta = LAYER_STEP / adapter.factor
        current = float(model.get_current_time())
        if not self.params.get("allow_exceed_end_time", False):
            end = float(model.get_end_time())
            if end < current + delta:
                raise Abort(f"{self.id}: end time {end} lies before {current + delta}")
        current = float(model.get_current_time())
        since = current * adapter.factor - self.start * adapter.factor
        self._set_inputs(world.start + since)
        if float(model.get_time_step()) == delta:
            model.update()
        else:
            model.update_until(current + delta)
        self.time_step = step

    def _set_inputs(self, time: float) -> None:
        known = self._known or (self._ask(name) for name in self.adapter.input_names())
        if self.cache:
            known = self._known = [*known]
        for name, units, count in known:  # asked one by one, each set before the next is asked
            values = self.world.values(self.id, self.alias.get(name, name), time, units, self, count)
            if count != 1 and len(values) == 1:
                warn(f"WARN: broadcasting variable {name}")
            elif count != len(values):
                raise Abort(f"Mismatch in item count for variable '{name}'")
            self.adapter.set_value(name, np.resize(values, count))

    def _ask(self, name: str) -> tuple[str, str, int]:
        """What is asked of an input before it is set: its name, units and count of items."""
        model = self.adapter.model
        size = int(model.get_var_itemsize(name))
        units = str(model.get_var_units(name))
        self.adapter.cxx_of(model.get_var_type(name), size)
        return name, units, int(model.get_var_nbytes(name)) // size

    def read(self, name: str) -> float:
        """An output, asked as for a column: its value, then its units."""
        value = self.adapter.output(name)
        self.adapter.model.get_var_units(name)
        return value


class Catchment:
    """A formulation of one catchment: a module, or several in a bmi_multi."""

    def __init__(self, id_: str, formulation: dict, properties: dict, world: World) -> None:
        self.id, self.world = id_, world
        params = formulation["params"]
        self.multi = formulation["name"] == "bmi_multi"
        nested = params["modules"] if self.multi else [formulation]
        self.modules: list[Module] = []
        self.inputs: dict[Module, list[str]] = {}
        taken = world.forcing[id_].names()
        for each in nested:
            self.modules.append(Module(id_, each["params"], properties, world))
            if self.multi:
                self._take_names(self.modules[-1], taken)
        self.defaults = {v["name"]: v["value"] for v in params.get("default_output_values", [])}
        if self.multi:
            self._check_multi(taken | {*self.defaults})
        last = self.modules[-1]
        self.columns = params.get("output_variables", last.columns)
        headers = params.get("output_header_fields", [])
        self.headers = headers if len(headers) == len(self.columns) else list(self.columns)
        self.main = params.get("main_output_variable", last.main)
        self.chooses = self.multi and "output_variables" in params
        for module in self.modules if world.writes else ():
            module.ask_header()
        self.rows: list[str] = []

    def _take_names(self, module: Module, taken: set[str]) -> None:
        self.inputs[module] = module.adapter.input_names()
        for name in module.adapter.output_names():
            alias = module.alias.get(name, name)
            if alias in taken:
                raise Abort(f"a previous module is using this output variable name/alias: {alias}")
            taken.add(alias)

    def _check_multi(self, known: set[str]) -> None:
        for module, names in self.inputs.items():
            for name in names:
                if module.alias.get(name, name) not in known:
                    raise Abort(f"ConfigurationException: nothing provides {name}")
            module.adapter.output_names()

    def _check_end(self) -> None:
        """A bmi_multi looks at the ends of all modules first, as whole seconds of a time_t."""
        seconds = float(self.modules[0].adapter.model.get_current_time()) * self.modules[0].adapter.factor
        for module in self.modules:
            if not module.params.get("allow_exceed_end_time", False):
                end = float(module.adapter.model.get_end_time()) * module.adapter.factor
                if not seconds + LAYER_STEP <= end < 2.0**63:
                    raise Abort("response of future time step that exceeds model end time")

    def module_of(self, name: str) -> tuple[Module, str]:
        for module in self.modules:
            if name in module.own:
                return module, module.own[name]
        raise Abort(f"{self.id}: {name} is not an output of any module")

    def _column(self, name: str, time: float) -> float:
        """An output, or in a bmi_multi a forcing, which by now is that of the next step."""
        forcing = self.world.forcing[self.id]
        if self.chooses and name in forcing.names():
            return forcing.get(self.id, name, time, LAYER_STEP)[0]
        owner, own = self.module_of(name)
        return owner.read(own)

    def step(self, index: int, total: int, time: str) -> float:
        """Update, write the columns, check the protocol; metres of runoff come back."""
        if self.multi:
            self._check_end()
        for module in self.modules:
            module.update(index)
        module, main = self.module_of(self.main)
        depth = module.adapter.output(main)
        units = module.adapter.model.get_var_units(main)
        depth = self.world.units.convert(depth, units, "m", "nexus", main)
        for module in self.modules:
            module.protocol.check(index, total)
        values = []
        if self.world.writes:
            last = self.modules[-1]
            now = float(last.adapter.model.get_current_time()) if self.chooses else 0.0
            since = (now - last.start) * last.adapter.factor
            values = [self._column(name, self.world.start + since) for name in self.columns]
        precision = self.world.precision
        self.rows.append(",".join([str(index), time, *(f"{v:.{precision}g}" for v in values)]))
        return depth


class World:
    """What all catchments share: time, forcing, units."""

    def __init__(self, realization: dict, ids: list[str]) -> None:
        time = realization["time"]
        self.start, self.end = parse_time(time["start_time"]), parse_time(time["end_time"])
        self.interval = int(time["output_interval"])
        self.units = Units()
        self.forcing: dict[str, Provider] = {}
        for id_ in ids:
            config = forcing_of(realization, id_)
            self.forcing[id_] = make_provider(config, id_, ids, self.start, self.end)
        self.precision = realization.get("output", {}).get("precision", 9)
        files = realization.get("output", {}).get("catchment", {})
        self.writes = files.get("enable", True)
        self.grouped = files.get("grouping") == "per_formulation"
        self.catchments: dict[str, Catchment] = {}

    def values(self, id_: str, name: str, time: float, units: str, module: Module, count: int) -> np.ndarray:
        """A forcing, or what another module of the same catchment puts out, in the units asked for."""
        forcing = self.forcing[id_]
        if name not in forcing.names() and self.catchments[id_].multi:
            other, own = self.catchments[id_].module_of(name)
            first = self.catchments[id_].defaults.get(name)
            if first is not None and other.time_step is None:
                return np.array([first])
            values, given = other.adapter.items(own, count), other.adapter.model.get_var_units(own)
        else:
            value, given = forcing.get(id_, name, time, LAYER_STEP)
            values = np.array([value])
        if units in NO_UNITS:
            return values
        convert = self.units.convert
        return np.array([convert(v, given, units, module.adapter.name, name, count != 1) for v in values])


def forcing_of(realization: dict, id_: str) -> dict:
    """The forcing block of a catchment: one with a block of its own takes nothing from that of all."""
    block = realization.get("catchments", {}).get(id_)
    if block is None:
        return realization["global"].get("forcing", {})
    if not block.get("formulations"):
        raise Abort(f"ERROR: No formulations defined for {id_}.")
    if not block.get("forcing"):
        raise Abort(f"No forcing definition was found for {id_}")
    if "path" not in block["forcing"]:
        raise Abort(f"A forcing configuration cannot be created for '{id_}'; missing: path")
    return block["forcing"]


def read_divides(path: Path) -> dict[str, dict]:
    """Properties of the divides; what is NULL becomes the text "null"."""
    with sqlite3.connect(path) as connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute("SELECT * FROM divides")]
    for row in rows:
        row.pop("geom", None)
    return {row["divide_id"]: {k: "null" if v is None else v for k, v in row.items()} for row in rows}


def check_layers(realization: dict) -> None:
    ids = [layer.get("id") for layer in realization.get("layers", [])]
    if 0 in ids:
        raise Abort("Can not add water to a summed point nexus: layer 0 is stored twice")


def run(given: argparse.Namespace) -> dict[str, Catchment]:
    """The whole simulation, unless it is killed in the middle of a step."""
    realization = json.loads(given.realization.read_text())
    check_layers(realization)
    divides = read_divides(given.gpkg)
    chosen = realization.get("catchments", {})
    ids = list(divides)
    if given.order is not None:
        random.Random(given.order).shuffle(ids)
    world = World(realization, ids)
    for name in ("netCDF4", "h5py"):
        sys.modules[name] = None  # importing it kills ngen
    for id_ in ids:
        formulations = chosen.get(id_, realization["global"])["formulations"]
        try:
            world.catchments[id_] = Catchment(id_, formulations[0], divides[id_], world)
        except Abort:
            raise
        except Exception as problem:
            raise Abort(f"{type(problem).__name__}: {problem}") from problem

    block = realization.get("output")
    root = Path(realization.get("output_root", ".") if block is None else block.get("root", "."))
    root.mkdir(parents=True, exist_ok=True)
    total = (world.end - world.start) // world.interval + 1
    hours = [world.start + k * LAYER_STEP for k in range((world.end - world.start) // LAYER_STEP + 1)]
    if world.interval > LAYER_STEP:
        hours = hours[
            : (total - 1) * world.interval // LAYER_STEP + (1 if world.interval == LAYER_STEP else 0)
        ]
    nexuses = {row["toid"]: root / f"{row['toid']}_output.csv" for row in divides.values()}
    for path in (*nexuses.values(), *files_of_catchments(root, world).values()):
        path.write_text("")
    for index, second in enumerate(hours):
        stamp = str(np.datetime64(int(second), "s")).replace("T", " ")
        flow = dict.fromkeys(nexuses, 0.0)
        for k, (id_, catchment) in enumerate(world.catchments.items()):
            if index == given.die_at and k == len(ids) // 2:
                raise Abort("killed")
            try:
                depth = catchment.step(index, len(hours), stamp)
            except Abort:
                raise
            except Exception as problem:
                raise Abort(f"{type(problem).__name__}: {problem} (step {index} of {id_})") from problem
            area = divides[id_].get("areasqkm", divides[id_].get("area_sqkm"))
            flow[divides[id_]["toid"]] += depth * float(area) * 1e6 / 3600.0
        for name, path in nexuses.items():
            with open(path, "a") as file:
                file.write(f"{index}, {stamp}, {flow[name]:.{given.nexus_digits}g}\n")
    write_catchments(root, world)
    for id_ in reversed([*world.catchments]):
        for module in world.catchments[id_].modules:
            try:
                module.adapter.model.finalize()
            except Exception as problem:  # in a destructor, which must not throw
                raise Abort(f"terminate called without an active exception: {problem}") from problem
    return world.catchments


def files_of_catchments(root: Path, world: World) -> dict[str, Path]:
    """By catchment its file, which may be that of all."""
    name = "cat_output.csv" if world.grouped else "{}.csv"
    return {id_: root / name.format(id_) for id_ in world.catchments if world.writes}


def write_catchments(root: Path, world: World) -> None:
    """Buffered until now: a run that dies leaves them empty."""
    files, catchments = files_of_catchments(root, world), world.catchments
    if world.grouped and files:
        steps = zip(*([f"{id_},{row}" for row in c.rows] for id_, c in catchments.items()), strict=True)
        lines = [line for step in steps for line in step]
        header = next(iter(catchments.values())).headers
        text = "\n".join([f"catchment_id,Time Step,Time,{','.join(header)}", *lines])
        next(iter(files.values())).write_text(text + "\n")
        return
    for id_, path in files.items():
        text = "\n".join([f"Time Step,Time,{','.join(catchments[id_].headers)}", *catchments[id_].rows])
        path.write_text(text + "\n")


class Counted:
    """Counts the calls to a BMI object, by method."""

    counts: ClassVar[dict[str, int]] = {}

    def __init__(self, model) -> None:
        self._model = model

    def __getattr__(self, name):
        method = getattr(self._model, name)

        def call(*arguments):
            Counted.counts[name] = Counted.counts.get(name, 0) + 1
            return method(*arguments)

        return call


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("gpkg", type=Path)
    parser.add_argument("realization", type=Path)
    parser.add_argument("--order", type=int)
    parser.add_argument("--calls", type=Path)
    parser.add_argument("--die-at", type=int)
    parser.add_argument("--nexus-digits", type=int, default=6, help="ngen itself writes six")
    given = parser.parse_args()
    sys.argv = [""]
    encoding = locale.getpreferredencoding(False)
    if encoding not in ("ANSI_X3.4-1968", "ascii", "US-ASCII"):
        sys.exit(f"the stand-in must run with ASCII, not {encoding}: set LC_ALL=C PYTHONUTF8=0")
    Adapter.counted = given.calls is not None
    try:
        run(given)
    except Abort as problem:
        warn(f"terminate called after throwing an instance of 'std::runtime_error'\n  what():  {problem}")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(139 if str(problem).startswith("SIGSEGV") else 134)  # finalize is never called
    if given.calls:
        given.calls.write_text(json.dumps(Counted.counts))
    print("NGen done")


if __name__ == "__main__":
    main()
