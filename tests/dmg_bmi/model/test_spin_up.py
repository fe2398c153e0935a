"""A daily model that spins up and an hourly one that goes on, as one model and one component."""

import csv

import numpy as np
import pytest
import torch
import yaml

from dmg_bmi import Bundle, DeltaModel
from dmg_bmi.bmi import DeltaModelBmi
from dmg_bmi.errors import BundleError, ConfigError, ForcingError
from dmg_bmi.model.pair import ModelPair
from dmg_bmi.model.spin_up import SpinUpModel, build_model
from dmg_bmi.runtime.forcing.stored import write_index

DAYS, ROWS = 4, 3
INPUTS = ("P", "T", "PET")


def part(step, hidden, phy, routing, extra=()):
    return DeltaModel.build(
        nn={
            "lstm": {"name": "cuda_lstm", "hidden_size": hidden},
            "static": {"name": "mlp", "hidden_sizes": [5]},
            **({"more": {"name": "mlp", "hidden_sizes": [4]}} if extra else {}),
        },
        phy_model={"name": phy, "nmul": 2, "routing": routing},
        roles=[
            {
                "network": "lstm",
                "inputs": ["P", "T"],
                "attributes": ["slope"],
                "dynamic": ["BETA", "K0"],
                "static": [],
            },
            {"network": "static", "attributes": ["slope", "clay"], **({"static": STATIC} if extra else {})},
            *([{"network": "more", "attributes": ["clay"], "static": [*extra]}] if extra else []),
        ],
        statistics={"T": {"mean": 4.0, "std": 9.0}},
        step=step,
    ).double()


STATIC = "FC K1 K2 LP PERC UZL TT CFMAX CFR CWH BETAET C RT AC".split()  # noqa: SIM905
HOURLY = ("F0", "ALPHA", "KS", "route_a", "route_b", "route_tau")


def model(days=DAYS):
    torch.manual_seed(0)
    pair = ModelPair(
        part(86400.0, 6, "hbv_2", None),
        part(3600.0, 4, "hbv_2_1_hourly", 60, HOURLY),
        ("static",),
        {"lstm": "lstm"},
    )
    return SpinUpModel(pair.double(), days).eval()


def hourly(hours, seed=1):
    g = torch.Generator().manual_seed(seed)
    rain = torch.rand(hours, ROWS, generator=g, dtype=torch.float64)
    return {
        "P": torch.where(rain < 0.2, -8.0 * (rain + 1e-3).log(), 0.0),
        "T": 6.0 + 8.0 * torch.rand(hours, ROWS, generator=g, dtype=torch.float64),
        "PET": 0.2 * torch.rand(hours, ROWS, generator=g, dtype=torch.float64),
    }


ATTRIBUTES = {
    "slope": torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64),
    "clay": torch.tensor([10.0, 20.0, 35.0], dtype=torch.float64),
    "elevation": torch.tensor([100.0, 1500.0, 2500.0], dtype=torch.float64),
    "upstream_area": torch.tensor([10.0, 900.0, 2600.0], dtype=torch.float64),
}


def days_of(forcing, days):
    """The forcing of whole days, by hand: water adds up, temperature averages."""
    first = {name: values[: 24 * days].reshape(days, 24, ROWS) for name, values in forcing.items()}
    return {name: values.mean(1) if name == "T" else values.sum(1) for name, values in first.items()}


@torch.no_grad()
def test_it_runs_days_first_and_then_hours_from_what_the_days_left():
    whole, forcing = model(), hourly(24 * DAYS + 30)
    slow, fast = whole.slow, whole._pair[0].fast
    by_day, state = slow(days_of(forcing, DAYS), ATTRIBUTES)
    rest = {name: values[24 * DAYS :] for name, values in forcing.items()}
    by_hour, end = fast(rest, ATTRIBUTES, whole._pair[0].hand_over(state))
    fluxes, last = whole(forcing, ATTRIBUTES)
    for name in ("Q", "ET", "exchange"):
        # A day's fluxes leave in equal parts over the day that follows it.
        released = torch.cat([torch.zeros(24, ROWS).double(), by_day[name].repeat_interleave(24, 0) / 24])
        expected = torch.cat([released, torch.zeros(6, ROWS).double()])
        expected[24 * DAYS :] += by_hour[name]
        torch.testing.assert_close(fluxes[name], expected)
    assert (fluxes["infiltration_excess"][: 24 * DAYS] == 0).all()
    torch.testing.assert_close(fluxes["soil_moisture"][24 * DAYS :], by_hour["soil_moisture"])
    torch.testing.assert_close(fluxes["SWE"][24 : 24 * DAYS], by_day["SWE"][:-1].repeat_interleave(24, 0))
    for name, value in end.items():
        torch.testing.assert_close(last[name], value)
    assert (last["spin_up.left"] == 0).all()


@torch.no_grad()
def test_water_is_conserved_in_every_hour_of_the_spin_up_and_after_it():
    whole, forcing = model(), hourly(24 * DAYS + 40)
    (balance,) = whole.declaration.balances
    constants, state = whole.precompute(ATTRIBUTES, ROWS), whole.init_state(ROWS)
    for hour in range(24 * DAYS + 40):
        now = {name: values[hour : hour + 1] for name, values in forcing.items()}
        fluxes, after = whole.run(now, constants, state)
        lost = whole.residual(balance, now, fluxes, constants, state, after)
        assert lost.abs().max() < 1e-10, hour
        state = after
    assert state["spin_up.water"].abs().max() < 1e-10


@torch.no_grad()
def test_cutting_it_anywhere_changes_nothing(splitting):
    whole, forcing = model(2), hourly(24 * 2 + 30)
    constants, start = whole.precompute(ATTRIBUTES, ROWS), whole.init_state(ROWS)
    expected, end = whole.run(forcing, constants, start)
    pieces, last = splitting.in_pieces(
        lambda f, s: whole.run(f, constants, s), forcing, start, (1, 23, 24, 30, 47, 48, 49, 71, 72)
    )
    splitting.assert_agree(pieces, expected, torch.float64)
    splitting.assert_agree(last, end, torch.float64)


@torch.no_grad()
def test_rows_at_different_places_of_their_spin_up_do_not_touch_each_other():
    whole, forcing = model(2), hourly(24 * 2 + 60)
    constants, start = whole.precompute(ATTRIBUTES, ROWS), whole.init_state(ROWS)
    _, ahead = whole.run({n: v[:35] for n, v in forcing.items()}, constants, start)
    mixed = {name: torch.cat([ahead[name][:1], value[1:]]) for name, value in start.items()}
    rest = {n: v[35:] for n, v in forcing.items()}
    fluxes, _ = whole.run(rest, constants, mixed)
    alone, _ = whole.run(rest, constants, ahead)
    anew, _ = whole.run(rest, constants, start)
    torch.testing.assert_close(fluxes["Q"][:, 0], alone["Q"][:, 0])
    torch.testing.assert_close(fluxes["Q"][:, 1:], anew["Q"][:, 1:])


@torch.no_grad()
def test_a_known_past_spins_up_at_once_to_the_same_state():
    whole, forcing = model(), hourly(24 * DAYS + 50)
    constants, start = whole.precompute(ATTRIBUTES, ROWS), whole.init_state(ROWS)
    state = whole.spun_up({n: v[: 24 * DAYS] for n, v in forcing.items()}, constants, start)
    at_once, _ = whole.run({n: v[24 * DAYS :] for n, v in forcing.items()}, constants, state)
    step_by_step, _ = whole.run(forcing, constants, start)
    # The first day still releases what the last day of the spin-up gave.
    torch.testing.assert_close(at_once["Q"][24:], step_by_step["Q"][24 * DAYS + 24 :])


def test_a_bundle_of_it_is_saved_and_loaded_whole(tmp_path):
    whole = model().float()
    info = Bundle(whole, "pair").save(tmp_path / "bundle")
    again = Bundle.load(tmp_path / "bundle").model
    assert again.describe() == whole.describe()
    assert again.networks["static"] is again.slow.networks["static"]
    assert not again.slow.training
    state = whole.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again.state_dict().items())
    assert {"P", "T", "PET"} == {v.symbol for v in info.variables if v.kind == "input"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": 0}, "spin_up.steps must be a whole number"),
        ({"steps": True}, "spin_up.steps must be a whole number"),
        ({"stepz": 3}, "spin_up must have the keys model, shared, steps, transfer"),
        ({"shared": ["nothing"]}, "nothing"),
        ({"transfer": {"lstm": "other"}}, "other"),
    ],
)
def test_a_description_that_is_no_pair_is_refused(change, said):
    description = model().describe()
    with pytest.raises((ConfigError, KeyError), match=said):
        build_model({**description, "spin_up": {**description["spin_up"], **change}})


def test_a_forged_description_is_a_bundle_error(tmp_path):
    Bundle(model().float(), "pair").save(tmp_path / "bundle")
    file = tmp_path / "bundle" / "bundle.yaml"
    content = yaml.safe_load(file.read_text())
    content["model"]["spin_up"]["shared"] = ["nothing"]
    from dmg_bmi.model.bundle_files import checksum_of

    content.pop("checksum")
    content["checksum"] = checksum_of(content)
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(BundleError):
        Bundle.load(tmp_path / "bundle")


# -- as a component --------------------------------------------------------------------------


@pytest.fixture
def configured(tmp_path):
    """A function that writes a configuration and returns its path."""
    Bundle(model(2).float(), "pair").save(tmp_path / "pair")
    catchments = {
        "ids": ["a", "b", "c"],
        "attributes": {name: values.tolist() for name, values in ATTRIBUTES.items()},
        "area": 10.0,
    }

    def write(**more):
        path = tmp_path / "run.yaml"
        content = {"bundle": str(tmp_path / "pair"), "catchments": catchments, "engine": "eager", **more}
        path.write_text(yaml.safe_dump(content))
        return str(path)

    return write


def push(bmi, forcing, hours):
    runoff = []
    for hour in hours:
        for name in INPUTS:
            bmi.set_value(name, forcing[name][hour].numpy())
        bmi.update()
        runoff.append(bmi.get_value_ptr("Q").copy() * 1000.0)
    return np.array(runoff)


@torch.no_grad()
def test_a_component_spins_up_and_goes_on_by_itself_and_from_a_restart(configured, tmp_path):
    forcing = hourly(24 * 2 + 40)
    expected = Bundle.load(tmp_path / "pair").model(forcing, ATTRIBUTES)[0]["Q"].numpy()
    bmi = DeltaModelBmi()
    bmi.initialize(configured())
    np.testing.assert_allclose(push(bmi, forcing, range(88)), expected, rtol=1e-5, atol=1e-7)
    bmi.finalize()
    for cut in (13, 24, 30, 48, 60):
        bmi.initialize(configured(restart={"write": str(tmp_path / "cut.state")}))
        push(bmi, forcing, range(cut))
        bmi.finalize()
        bmi.initialize(configured(restart={"read": str(tmp_path / "cut.state")}))
        rest = push(bmi, forcing, range(cut, 88))
        np.testing.assert_allclose(rest, expected[cut:], rtol=1e-5, atol=1e-7)
        bmi.finalize()


def test_a_component_says_where_its_water_is_in_every_hour(configured):
    forcing = hourly(24 * 2 + 40)
    bmi = DeltaModelBmi()
    bmi.initialize(configured())

    def totals():
        return [bmi.get_value_ptr(f"ngen::mass_{n}").copy() for n in ("in", "out", "stored", "leaked")]

    totals()
    for hour in range(88):
        push(bmi, forcing, [hour])
        mass_in, out, stored, leaked = totals()
        np.testing.assert_allclose(mass_in, out + stored + leaked, rtol=1e-9, atol=1e-12)
    bmi.finalize()


def store(folder, forcing, start):
    """Stored forcing from a time on, hour by hour."""
    folder.mkdir()
    units = {"P": "mm h-1", "T": "degC", "PET": "mm h-1"}
    for name in INPUTS:
        np.save(folder / f"{name}.npy", forcing[name].numpy())
    variables = {name: {"file": f"{name}.npy", "units": units[name]} for name in INPUTS}
    write_index(folder, ["a", "b", "c"], np.datetime64(start), variables)
    return str(folder)


@torch.no_grad()
def test_a_stored_past_spins_up_before_the_first_hour(configured, tmp_path):
    forcing = hourly(24 * 2 + 40)
    whole = Bundle.load(tmp_path / "pair").model
    constants = whole.precompute(ATTRIBUTES, ROWS)
    past = {n: v[:48] for n, v in forcing.items()}
    state = whole.spun_up(past, constants, whole.init_state(ROWS))
    rest, _ = whole.run({n: v[48:] for n, v in forcing.items()}, constants, state)
    expected = rest["Q"].numpy()
    folder = store(tmp_path / "store", forcing, "2001-01-01T00:00:00")
    bmi = DeltaModelBmi()
    bmi.initialize(configured(forcing=folder, start_time="2001-01-03"))
    bmi.get_value_ptr("ngen::mass_in")
    runoff = []
    for _ in range(40):
        bmi.update()
        runoff.append(bmi.get_value_ptr("Q").copy() * 1000.0)
        totals = [bmi.get_value_ptr(f"ngen::mass_{n}") for n in ("in", "out", "stored", "leaked")]
        np.testing.assert_allclose(totals[0], totals[1] + totals[2] + totals[3], rtol=1e-9)
    bmi.finalize()
    np.testing.assert_allclose(np.array(runoff), expected, rtol=1e-5, atol=1e-7)

    # A store that begins with the run: it spins up in the run itself.
    bmi.initialize(configured(forcing=folder, start_time="2001-01-01"))
    bmi.update_until(48 * 3600.0)
    in_run = []
    for _ in range(40):
        bmi.update()
        in_run.append(bmi.get_value_ptr("Q").copy() * 1000.0)
    bmi.finalize()
    np.testing.assert_allclose(np.array(in_run)[24:], expected[24:], rtol=1e-5, atol=1e-7)


def test_a_restart_takes_the_place_of_the_stored_past(configured, tmp_path):
    forcing = hourly(24 * 2 + 40)
    folder = store(tmp_path / "store", forcing, "2001-01-01T00:00:00")
    bmi, state = DeltaModelBmi(), str(tmp_path / "cut.state")
    bmi.initialize(configured(forcing=folder, start_time="2001-01-03", restart={"write": state}))
    bmi.update_until(20 * 3600.0)
    bmi.finalize()
    bmi.initialize(configured(forcing=folder, start_time="2001-01-03"))
    bmi.update_until(21 * 3600.0)
    expected = bmi.get_value_ptr("Q").copy()
    bmi.finalize()
    bmi.initialize(configured(forcing=folder, start_time="2001-01-03T20:00:00", restart={"read": state}))
    bmi.update()
    np.testing.assert_allclose(bmi.get_value_ptr("Q"), expected, rtol=1e-9)
    bmi.finalize()


def test_a_gap_in_the_stored_past_is_named_and_nothing_has_changed(configured, tmp_path):
    forcing = hourly(24 * 2 + 40)
    forcing["P"][7, 1] = float("nan")
    folder = store(tmp_path / "store", forcing, "2001-01-01T00:00:00")
    bmi = DeltaModelBmi()
    bmi.initialize(configured(forcing=folder, start_time="2001-01-03"))
    for _ in range(2):
        with pytest.raises(ForcingError, match=r"catchment 'b' at -147600 s is NaN"):
            bmi.update()
    assert bmi.get_current_time() == 0.0


@torch.no_grad()
def test_catchments_of_a_shared_configuration_spin_up_each_by_itself(configured, tmp_path):
    """As in ngen: a component per catchment, in one group; one of them goes on from a state file."""
    forcing = hourly(24 * 2 + 40)
    folder = store(tmp_path / "store", forcing, "2001-01-01T00:00:00")
    bmi = DeltaModelBmi()
    bmi.initialize(configured(forcing=folder, start_time="2001-01-03"))
    expected = []
    for _ in range(30):
        bmi.update()
        expected.append(bmi.get_value_ptr("Q").copy())
    bmi.finalize()

    def members(hour, **restarts):
        shared = configured(forcing=folder, start_time=f"2001-01-03T{hour:02}:00:00")
        made = []
        for name in "abc":
            member = {"shared": shared, "catchment": name, "restart": restarts.get(name, {})}
            path = tmp_path / f"{name}.yaml"
            path.write_text(yaml.safe_dump(member))
            made.append(DeltaModelBmi())
            made[-1].initialize(str(path))
        return made

    def step(made):
        for one in made:
            one.update()
        return np.concatenate([one.get_value_ptr("Q") for one in made])

    state = {"write": str(tmp_path / "b.state")}
    first = members(0, b=state)
    np.testing.assert_allclose([step(first) for _ in range(10)], expected[:10], rtol=1e-9)
    for one in first:
        one.finalize()
    # The others begin anew, later, from the days before: what flows there is another answer.
    second = members(10, b={"read": state["write"]})
    resumed = np.array([step(second) for _ in range(20)])
    np.testing.assert_allclose(resumed[:, 1], np.array(expected)[10:, 1], rtol=1e-9)
    assert np.isfinite(resumed).all()
    for one in second:
        one.finalize()


def test_a_month_of_real_hours_closes_its_water(configured, shared_data):
    """The weather of three catchments of New Hampshire, its first two days as the spin-up."""
    folder = shared_data / "nextgen_01073000" / "forcing"
    if not folder.is_dir():
        pytest.skip("no nextgen_01073000 among the shared data")
    columns = []
    for file in sorted(folder.glob("*.csv"))[:ROWS]:
        with open(file, encoding="utf-8") as lines:
            rows = [(float(r["precip_rate"]), float(r["TMP_2maboveground"])) for r in csv.DictReader(lines)]
        columns.append(rows)
    weather = torch.tensor(columns, dtype=torch.float64).transpose(0, 1)
    forcing = {"P": weather[..., 0] * 3600.0, "T": weather[..., 1] - 273.15}
    forcing["PET"] = torch.full_like(forcing["P"], 0.03)
    bmi = DeltaModelBmi()
    bmi.initialize(configured())
    totals = [bmi.get_value_ptr(f"ngen::mass_{name}") for name in ("in", "out", "stored", "leaked")]
    runoff = push(bmi, forcing, range(len(weather)))
    np.testing.assert_allclose(totals[0], totals[1] + totals[2] + totals[3], rtol=1e-9)
    assert len(runoff) > 600
    assert np.isfinite(runoff).all()
    # By days the flow is even, by hours it follows the weather.
    assert (np.ptp(runoff[24:48], axis=0) == 0).all()
    assert (np.ptp(runoff[72:], axis=0) > 0).all()
    bmi.finalize()
