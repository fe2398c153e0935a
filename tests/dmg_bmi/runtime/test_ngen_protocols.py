"""What NextGen reserves: the water balance by name, and saving and restoring the state."""

import numpy as np
import pytest
import torch

from dmg_bmi.errors import NotInitializedError, StateError, ValueShapeError, VariableError
from dmg_bmi.model.delta_model import DAY, DeltaModel

HOUR = 3600.0
MASS = ["ngen::mass_in", "ngen::mass_out", "ngen::mass_stored", "ngen::mass_leaked"]
#: units, type and items of a fresh variable (protocol v0.2)
SERIALIZATION = {
    "ngen::serialization_create": ("ngen::trigger", "int32", 1),
    "ngen::serialization_free": ("ngen::trigger", "int32", 1),
    "ngen::serialization_size": ("bytes", "int64", 1),
    "ngen::serialization_state": ("ngen::opaque", "uint8", 0),
}
TRIGGER = np.ones(1, dtype=np.int32)


@pytest.fixture
def exchanging(tmp_path):
    """A bundle of HBV 2.0, which exchanges groundwater with the outside; nothing is learned."""
    from dmg_bmi.model.bundle import Bundle
    from dmg_bmi.model.registry import build_process_model

    description = {"name": "hbv_2", "nmul": 2, "routing": 15}
    declared = build_process_model(description).declaration.parameters
    fixed = {p.name: (2 * p.lower + p.upper) / 3 for p in declared}
    model = DeltaModel.build(phy_model=description, fixed=fixed)
    return Bundle(model, "exchanging").save(tmp_path / "exchanging")


def hourly(weather, days, n=1, seed=5):
    return weather(24 * days, n, seed=seed, step=HOUR)


def mass(bmi):
    return [float(bmi.get_value_ptr(name)[0]) for name in MASS]


def check(bmi, tolerance=1e-9):
    """As ngen's protocol does (``mass_balance.cpp``): native units, stored as it is."""
    mass_in, out, stored, mass_leaked = mass(bmi)
    assert abs(mass_in - out - abs(stored) - mass_leaked) <= tolerance
    return mass_in, out, stored, mass_leaked


def as_ngen_sees(bmi, name):
    """What is asked of a variable before its pointer is read into one C++ double."""
    pointer = bmi.get_value_ptr(name)
    assert (bmi.get_var_type(name), bmi.get_var_itemsize(name), bmi.get_var_nbytes(name)) == ("float64", 8, 8)
    assert pointer.shape == (1,)
    assert pointer.dtype == np.float64
    assert pointer.flags.c_contiguous
    return bmi.get_var_units(name), pointer


# -- mass balance -------------------------------------------------------------------


def test_the_four_totals_look_as_ngen_needs_them(configure, bmi_run):
    bmi = bmi_run.start(configure(time_step=HOUR))
    held = {name: as_ngen_sees(bmi, name) for name in MASS}
    assert {units for units, _ in held.values()} == {"mm"}
    published = {*bmi.get_input_var_names(), *bmi.get_output_var_names()}
    assert not published & {*MASS, *SERIALIZATION}
    for name, (_, pointer) in held.items():
        assert bmi.get_value_ptr(name) is pointer
        with pytest.raises(VariableError, match="cannot be set"):
            bmi.set_value(name, np.zeros(1))
        with pytest.raises(VariableError):
            bmi.get_var_grid(name)
        with pytest.raises(VariableError):
            bmi.get_var_location(name)


@pytest.mark.parametrize("start", ["2000-01-01T00:00:00", "2000-01-01T09:00:00", "2000-01-01T23:00:00"])
@pytest.mark.parametrize("forcing", ["pushed", "own", "daily"])
@pytest.mark.parametrize("kind", ["lstm", "exchanging"])
def test_water_closes_at_every_step(
    bundles, exchanging, configure, weather, store, bmi_run, kind, forcing, start
):
    series = hourly(weather, 12) if forcing != "daily" else weather(300, 1, seed=5)
    keys = {"start_time": start} | ({} if forcing == "daily" else {"time_step": HOUR})
    if forcing == "daily" and "00:00:00" not in start:
        pytest.skip("a daily step does not begin within a day")
    if forcing == "own":
        keys["forcing"] = str(store(series, 1, "2000-01-01T00:00:00", HOUR))
    if kind == "exchanging":
        keys["catchments"] = {"ids": ["cat-7"], "attributes": {"elevation": 300.0, "upstream_area": 50.0}}
    bmi = bmi_run.start(configure(exchanging if kind == "exchanging" else bundles(kind), **keys))
    steps = range(24 * 12 - 23) if forcing != "daily" else range(300)
    given, leaks = 0.0, []
    opened = check(bmi)[0]
    for k in steps:
        if forcing != "own":
            bmi_run.push(bmi, series, k)
        bmi.update()
        mass_in, _, _, mass_leaked = check(bmi)
        leaks.append(mass_leaked)
        given += series["P"][k, 0]
        if forcing != "own":
            np.testing.assert_allclose(mass_in - opened, given, rtol=1e-12, atol=1e-12)
    out = check(bmi)[1]
    assert out > 0
    assert (max(map(abs, leaks)) > 0.01) == (kind == "exchanging")


def test_the_book_opened_late_begins_from_what_is_stored(configure, weather, bmi_run):
    series = hourly(weather, 8)
    early, late = (bmi_run.start(configure(time_step=HOUR)) for _ in range(2))
    mass(early)
    for opened in (0, 23, 24, 25, 48, 71):
        while late.get_current_time() < opened * HOUR:
            hour = round(late.get_current_time() / HOUR)
            for bmi in (early, late):
                bmi_run.push(bmi, series, hour)
                bmi.update()
        fresh = bmi_run.start(configure(time_step=HOUR))
        for hour in range(opened):
            bmi_run.push(fresh, series, hour)
            fresh.update()
        mass_in, out, stored, mass_leaked = check(fresh)
        assert (out, mass_leaked) == (0.0, 0.0)
        assert mass_in == pytest.approx(stored, abs=1e-12)
        assert stored == pytest.approx(mass(early)[2], abs=1e-9)
        for hour in range(opened, opened + 50):
            bmi_run.push(fresh, series, hour)
            fresh.update()
            check(fresh)


@pytest.mark.parametrize("hour", [0, 10, 24, 30, 48])
@pytest.mark.parametrize("forcing", ["pushed", "own"])
def test_water_that_setting_a_state_adds_is_booked(share, weather, store, bmi_run, forcing, hour):
    series = hourly(weather, 6, n=2)
    keys = {"time_step": HOUR, "start_time": "2000-01-01"}
    if forcing == "own":
        keys["forcing"] = str(store(series, 2, "2000-01-01", HOUR))
    members = share(n=2, **keys)
    for bmi in members:
        check(bmi)
    for k in range(24 * 5):
        for row, bmi in enumerate(members):
            if k == hour and row == 1:
                before = mass(bmi)
                soil = bmi_run.read(bmi, "phy.SM")
                bmi.set_value("phy.SM", soil + np.array([30.0, 50.0]))
                np.testing.assert_allclose(np.subtract(check(bmi), before)[[0, 2]], 40.0, atol=1e-9)
            if forcing == "pushed":
                bmi_run.push(bmi, {name: values[:, [row]] for name, values in series.items()}, k)
            bmi.update()
            check(bmi)


def test_the_book_begins_anew_when_a_state_is_restored(configure, weather, bmi_run):
    series = hourly(weather, 6)
    bmi = bmi_run.start(configure(time_step=HOUR))
    for k in range(60):
        bmi_run.push(bmi, series, k)
        bmi.update()
    saved = bmi.component.save()
    again = bmi_run.start(configure(time_step=HOUR))
    check(again)
    again.component.load(saved)
    mass_in, out, stored, _ = check(again)
    assert (mass_in, out) == (stored, 0.0)
    for k in range(60, 130):
        bmi_run.push(again, series, k)
        again.update()
        check(again)


def test_a_model_without_a_balance_has_no_totals(bmi_run, configure, tmp_path):
    from dmg_bmi.model.bundle import Bundle

    model = DeltaModel.build(
        nn={"name": "lstm", "hidden_size": 4},
        roles=[{"role": "output", "inputs": ["P", "T"], "outputs": ["Q"]}],
        statistics={"Q": {"mean": 1.0, "std": 1.0, "units": "mm"}},
    )
    bmi = bmi_run.start(configure(Bundle(model, "network").save(tmp_path / "network")))
    for ask in (bmi.get_var_units, bmi.get_var_type, bmi.get_value_ptr):
        with pytest.raises(VariableError, match="mass_in"):
            ask("ngen::mass_in")


# -- saving and restoring -----------------------------------------------------------


def test_the_serialization_variables_look_as_the_protocol_says(configure, bmi_run):
    bmi = bmi_run.start(configure(time_step=HOUR))
    for name, (units, dtype, items) in SERIALIZATION.items():
        pointer = bmi.get_value_ptr(name)
        assert (bmi.get_var_units(name), bmi.get_var_type(name)) == (units, dtype)
        assert pointer.dtype == np.dtype(dtype)
        assert pointer.shape == (items,)
        assert bmi.get_var_nbytes(name) == pointer.nbytes
        assert bmi.get_var_itemsize(name) == np.dtype(dtype).itemsize
        assert bmi.get_value_ptr(name) is pointer
        np.testing.assert_array_equal(bmi.get_value(name, np.ones_like(pointer)), 0)


@pytest.mark.parametrize("bundle_class", [True, False])
def test_reserved_names_are_unknown_before_initialize(bundles, bundle_class):
    from dmg_bmi.bmi import DeltaModelBmi, bundle_component

    bmi = bundle_component("Some", bundles().path)() if bundle_class else DeltaModelBmi()
    for name in (*SERIALIZATION, *MASS):
        with pytest.raises((NotInitializedError, VariableError)):
            bmi.get_var_units(name)


def save(bmi, prefix="ngen::"):
    """A framework saves: create, size, state, free."""
    bmi.set_value(f"{prefix}serialization_create", TRIGGER)
    name = f"{prefix}serialization_size" if prefix else "serialization_create"
    size = int(bmi.get_value_ptr(name)[0])
    state = np.zeros(size, dtype=np.uint8)
    assert bmi.get_var_nbytes(f"{prefix}serialization_state") == size
    bmi.get_value(f"{prefix}serialization_state", state)
    np.testing.assert_array_equal(bmi.get_value_ptr(f"{prefix}serialization_state"), state)
    bmi.set_value(f"{prefix}serialization_free", TRIGGER)
    assert bmi.get_var_nbytes(f"{prefix}serialization_state") == 0
    assert bmi.get_value_ptr(f"{prefix}serialization_size")[0] == 0
    return state


@pytest.mark.parametrize("prefix", ["ngen::", ""])
@pytest.mark.parametrize("hour", [0, 24, 37])
def test_a_framework_saves_and_restores(configure, weather, bmi_run, prefix, hour):
    series = hourly(weather, 5)
    bmi = bmi_run.start(configure(time_step=HOUR))
    for k in range(hour):
        bmi_run.push(bmi, series, k)
        bmi.update()
    state = save(bmi, prefix)
    np.testing.assert_array_equal(save(bmi, prefix), state)  # saving changed nothing

    again = bmi_run.start(configure(time_step=HOUR))
    if prefix:
        again.set_value("ngen::serialization_size", np.array([state.size], dtype=np.int64))
        assert again.get_var_nbytes("ngen::serialization_state") == state.size
    again.set_value(f"{prefix}serialization_state", state)
    assert again.get_var_nbytes("ngen::serialization_state") == 0
    assert again.get_current_time() == 0.0
    for k in range(hour, 24 * 5):
        for one in (bmi, again):
            bmi_run.push(one, series, k)
            one.update()
        for name in ("Q", "ET", "SWE", "phy.SM", "phy.queue"):
            np.testing.assert_array_equal(bmi_run.read(again, name), bmi_run.read(bmi, name))


def test_signed_bytes_are_bytes(configure, bmi_run):
    bmi = bmi_run.start(configure(time_step=HOUR))
    bmi_run.start(configure(time_step=HOUR)).set_value("ngen::serialization_state", save(bmi).view(np.int8))


@pytest.mark.parametrize(
    ("name", "change", "error", "match"),
    [
        ("torn", lambda s: s[:-5], StateError, "checksum"),
        ("short", lambda s: s[:10], StateError, "not a state"),
        ("empty", lambda s: s[:0], StateError, "not a state"),
        ("flipped", lambda s: np.where(np.arange(s.size) == s.size - 3, s ^ 1, s), StateError, "checksum"),
        ("floats", lambda s: s.astype(np.float64), ValueShapeError, "bytes"),
    ],
)
def test_a_bad_state_is_refused_and_changes_nothing(configure, weather, bmi_run, name, change, error, match):
    series = hourly(weather, 3)
    bmi = bmi_run.start(configure(time_step=HOUR))
    for k in range(30):
        bmi_run.push(bmi, series, k)
        bmi.update()
    before = bmi.component.save()
    bad = change(save(bmi))
    with pytest.raises(error, match=match):
        bmi.set_value("ngen::serialization_state", bad)
    assert bmi.component.save() == before


def test_a_state_of_another_size_than_announced_is_refused(configure, bmi_run):
    bmi = bmi_run.start(configure(time_step=HOUR))
    state = save(bmi)
    bmi.set_value("ngen::serialization_size", np.array([state.size - 1]))
    with pytest.raises(StateError, match="announced"):
        bmi.set_value("ngen::serialization_state", state)
    for size in (np.array([-1]), np.array([1, 2]), np.array([2**60])):
        with pytest.raises(ValueShapeError, match="bytes"):
            bmi.set_value("ngen::serialization_size", size)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_state_is_valid_at_one_time(bundles, configure, weather, bmi_run, dtype):
    series, bundle = hourly(weather, 3), bundles("lstm", DAY, dtype)
    bmi = bmi_run.start(configure(bundle, time_step=HOUR, start_time="2000-01-01"))
    for k in range(30):
        bmi_run.push(bmi, series, k)
        bmi.update()
    state = save(bmi)
    with pytest.raises(StateError, match="2000-01-02T06:00:00"):
        bmi_run.start(configure(bundle, time_step=HOUR, start_time="2000-01-01")).set_value(
            "ngen::serialization_state", state
        )
    bmi_run.start(configure(bundle, time_step=HOUR, start_time="2000-01-02T06:00:00")).set_value(
        "ngen::serialization_state", state
    )
