"""What fuzzing has found, each mended and kept here by name."""

import json
import os
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from bmi_sequences import VALUES
from file_mutations import limit
from kill_points import drive, start

from dmg_bmi import DeltaModelBmi, RoutingBmi, bmi_configs
from dmg_bmi.coupling import CouplingConfig
from dmg_bmi.errors import ConfigError, DmgBmiError, StateError, TrainingError, ValueShapeError
from dmg_bmi.hydrofabric import reader as hydrofabric
from dmg_bmi.io import netcdf
from dmg_bmi.io.csv_table import CsvTable
from dmg_bmi.io.units import parse
from dmg_bmi.nextgen.check.realization import check
from dmg_bmi.runtime import state_codec
from dmg_bmi.training import checkpoint
from dmg_bmi.training.config import TrainingConfig


@pytest.mark.parametrize("dtype", ["U8", "S8", "bool", "object"])
def test_numbers_do_not_go_into_an_array_of_something_else(tmp_path, dtype):
    """Text took the first digits of them, silently."""
    bmi = start(tmp_path)
    with pytest.raises(ValueShapeError, match="cannot go into dest"):
        bmi.get_value("Q", np.zeros(1, dtype=dtype))


@pytest.mark.parametrize("size", [np.nan, np.inf, -np.inf, -1.0, 1e30])
def test_no_such_number_of_bytes_can_be_announced(tmp_path, size):
    bmi = start(tmp_path)
    with pytest.raises(ValueShapeError, match="one number of bytes"):
        bmi.set_value("ngen::serialization_size", np.array([size]))


@pytest.mark.parametrize("dated", [True, False])
@pytest.mark.parametrize(
    ("key", "value"),
    [("shares", float("inf")), ("shares", 0), ("shares", 5), ("position", 4), ("position", -1)],
)
def test_a_header_that_counts_impossibly_is_refused_and_nothing_changes(tmp_path, key, value, dated):
    keys = {} if dated else {"start_time": None, "end_time": None}
    bmi, twin = start(tmp_path, **keys), start(tmp_path, **keys)
    for each in (bmi, twin):
        drive(each, 5)
    header, tensors = state_codec.decode(bmi.component.save())
    with pytest.raises(StateError):
        bmi.component.load(state_codec.encode({**header, key: value}, tensors))
    assert drive(bmi, 5) == drive(twin, 5)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("runtime.fluxes", np.inf, "values that cannot be, in runtime.fluxes"),
        ("runtime.published", np.inf, "values that cannot be, in runtime.published"),
        ("runtime.published", np.nan, "values that cannot be, in runtime.published"),
        ("runtime.series", np.inf, "values that cannot be, in runtime.series"),
        ("phy.SM", np.nan, "state: 'phy.SM' of catchment 'cat-1' cannot be nan"),
        ("phy.SM", -1e-9, "state: 'phy.SM' of catchment 'cat-1' cannot be -1e-09"),
        ("phy.SM", -5.0, "state: 'phy.SM' of catchment 'cat-1' cannot be -5.0; it needs .* 0 or more"),
        ("phy.queue", -0.01, "state: 'phy.queue' of catchment 'cat-1' cannot be -0.01"),
        ("phy.SM", 1e30, "state: 'phy.SM' of catchment 'cat-1' cannot be 1e\\+30"),
        (
            "dynamic.h",
            np.inf,
            "state: 'dynamic.h' of catchment 'cat-1' cannot be inf; it needs 16 finite values per catchment$",
        ),
    ],
)
def test_values_that_cannot_be_are_refused_and_nothing_changes(tmp_path, name, value, message):
    bmi, twin = start(tmp_path), start(tmp_path)
    for each in (bmi, twin):
        drive(each, 5)
    header, tensors = state_codec.decode(bmi.component.save())
    spoilt = tensors[name].clone()
    spoilt.view(-1)[0] = value
    with pytest.raises(StateError, match=message):
        bmi.component.load(state_codec.encode(header, {**tensors, name: spoilt}))
    assert drive(bmi, 5) == drive(twin, 5)


def test_a_reach_that_rounding_left_with_less_than_nothing_is_saved_loaded_and_set(tmp_path):
    """A lake of 26 million m3 ended at -7.5e-8 m3: its own state must not be refused."""
    bmi = RoutingBmi()
    bmi.initialize(str(Path(bmi_configs.__file__).with_name("river.yaml")))
    header, tensors = state_codec.decode(bmi.component.save())
    tensors["phy.storage"][3] = -1.0
    with pytest.raises(StateError, match=r"'phy.storage' of catchment .* cannot be -1.0"):
        bmi.component.load(state_codec.encode(header, tensors))
    tensors["phy.storage"][3] = -7.5e-8
    bmi.component.load(state_codec.encode(header, tensors))
    assert bmi.component.values("phy.storage")[3] == -7.5e-8
    bmi.set_value("phy.storage", bmi.component.values("phy.storage"))
    bmi.set_value("lateral_inflow", np.full(bmi.component.size, 2.0))
    bmi.update()
    assert (bmi.component.values("phy.storage") > 0).all()
    bmi.finalize()


@pytest.mark.parametrize(
    "changed",
    [
        torch.ones(2, dtype=torch.float64),
        torch.ones(1, 1, dtype=torch.float64),
        torch.ones(1, dtype=torch.float32),
        torch.ones(1, dtype=torch.int64),
    ],
)
def test_an_attribute_that_was_set_is_restored_as_it_was_or_refused(tmp_path, changed):
    bmi, twin = start(tmp_path), start(tmp_path)
    for each in (bmi, twin):
        each.set_value("aridity", np.array([1.7]))
        drive(each, 5)
    header, tensors = state_codec.decode(bmi.component.save())
    fresh = start(tmp_path)
    drive(fresh, 5)
    with pytest.raises(StateError, match="its tensors do not fit this component"):
        fresh.component.load(state_codec.encode(header, {**tensors, "runtime.changed.aridity": changed}))
    assert fresh.get_value_ptr("aridity") == VALUES["aridity"]
    fresh.component.load(state_codec.encode(header, tensors))
    assert fresh.get_value_ptr("aridity") == 1.7
    assert drive(fresh, 8) == drive(twin, 8)


@pytest.mark.parametrize("header", ["[" * 100_000, "3", "null", '"x"', "[1]", "{"])
def test_a_state_whose_header_is_no_object_is_refused(header):
    payload = safetensors.torch.save({"a": torch.zeros(1)}, {"header": header})
    sealed = (
        state_codec.MAGIC + state_codec.VERSION.to_bytes(2, "little") + sha256(payload).digest() + payload
    )
    with pytest.raises(StateError, match="cannot be read"):
        state_codec.decode(sealed)


@pytest.mark.parametrize("facts", ["[]", "null", "3", "{}", "[" * 100_000, '{"format": 99}'])
def test_a_checkpoint_whose_facts_are_none_is_refused(tmp_path, facts):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(safetensors.torch.save({"a": torch.zeros(1)}, {"dmg_bmi.training": facts}))
    with pytest.raises(TrainingError, match=r"checkpoint\.safetensors: is (not a checkpoint|of another)"):
        checkpoint.load(path)


@pytest.mark.parametrize("unit", ["l2666 m", "kg/l-9999", "m999999", "1e308 1e308 m", "1e-400 m", "m(99999)"])
def test_a_unit_beyond_any_number_is_refused(unit):
    with pytest.raises(ConfigError, match="is not understood"):
        parse(unit)


def no_file(kind, path):
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
@pytest.mark.parametrize(
    "read",
    [
        state_codec.read,
        checkpoint.load,
        netcdf.read,
        hydrofabric.read,
        CouplingConfig.read,
        TrainingConfig.read,
        lambda path: CsvTable.read(path, ConfigError),
        lambda path: check(path, path),
    ],
)
def test_every_reader_refuses_what_is_no_regular_file_at_once(tmp_path, kind, read):
    no_file(kind, tmp_path / "given")
    with (
        limit(5),
        pytest.raises(DmgBmiError, match=r"given: (is not a regular|cannot be read|(there is )?no such)"),
    ):
        read(tmp_path / "given")


@pytest.mark.parametrize("name", ["a" * 256, "a" * 5000, "x/" * 3000, "nul\0", "\ud800"])
def test_every_reader_refuses_a_name_that_no_file_can_have(tmp_path, name):
    config = tmp_path / "run.yaml"
    for keys in (
        {"bundle": name},
        {"bundle": "demo_daily", "catchments": {"file": name}},
        {"bundle": "demo_daily", "catchments": {"hydrofabric": name}},
        {"bundle": "demo_daily", "forcing": name, "start_time": "2000-01-01"},
        {"bundle": "demo_daily", "restart": {"read": name}},
        {"shared": name, "catchment": "x"},
    ):
        config.write_text(json.dumps(keys), encoding="utf-8")  # YAML takes JSON, and its escapes
        with pytest.raises(DmgBmiError):
            RoutingBmi().initialize(str(config))
        with pytest.raises(DmgBmiError):
            DeltaModelBmi().initialize(str(config))


def test_a_state_holds_the_forcing_that_waits_and_no_other(tmp_path):
    bmi = start(tmp_path)
    drive(bmi, 7)
    _, tensors = state_codec.decode(bmi.component.save())
    series = tensors["runtime.series"].numpy()
    position = bmi.component.model_step.position
    assert 0 < position < bmi.component.model_step.length
    assert np.isfinite(series[:, :position]).all()
    assert np.isnan(series[:, position:]).all()
    daily = start(tmp_path, time_step=86400.0)
    drive(daily, 2)
    assert "runtime.series" not in state_codec.decode(daily.component.save())[1]
