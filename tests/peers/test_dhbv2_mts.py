"""The multi-timescale model of dhbv2, imported, beside dmg 1.5 and hydrodl2 1.4 (an environment of its own).

Random weights, so nothing here is about skill. Theirs starts from 0.001 mm in every store, and in the
hourly stores that the daily model lacks when it hands over; the comparison does the same.
"""

import json

import numpy as np
import pytest
import torch
import yaml
from dmg_models import pair_config, pair_statistics

from dmg_bmi import Bundle
from dmg_bmi.bmi import DeltaModelBmi
from dmg_bmi.interop.import_dmg import import_dmg
from dmg_bmi.interop.import_dmg.pair_config import EPSILON

pytest.importorskip("dmg", reason="dmg is not installed here; its tests have an environment of their own")
mts = pytest.importorskip("dmg.models.delta_models.mts_dpl_model", reason="dmg before 1.5 has no such model")

DAYS, HOURS, ROWS, CYCLE = 60, 400, 5, 168
EMPTY = 0.001
ATTRIBUTES = {
    "a": torch.tensor([0.3, 1.0, 1.8, 0.7, 1.2]),
    "b": torch.tensor([1.0, 9.0, 4.0, 6.0, 2.0]),
    "c": torch.tensor([0.5, 3.0, 2.0, 1.0, 4.0]),
    "length": torch.tensor([5.0, 70.0, 20.0, 40.0, 55.0]),
    "elevation": torch.tensor([10.0, 1999.0, 2000.0, 3000.0, 500.0]),
    "upstream_area": torch.tensor([10.0, 2499.0, 2500.0, 2600.0, 900.0]),
}
CASES = [
    (hourly, dynamic, floor)
    for hourly in ("Hbv_2_hourly", "Hbv_2_1_hourly")
    # The published choice; and another, whose snow shows the water that its floors of 1e-5 mm make.
    for dynamic, floor in ((("BETA", "K0", "BETAET"), 1e-5), (("TT", "BETA"), 0.0))
]
cases = pytest.mark.parametrize(("hourly", "dynamic", "floor"), CASES)


def weather(hours):
    g = torch.Generator().manual_seed(2)
    wet = torch.rand(hours, ROWS, generator=g) < 0.15
    season = torch.sin(torch.arange(hours)[:, None] / 500)
    return {
        "P": torch.where(wet, -4.0 * torch.rand(hours, ROWS, generator=g).log(), 0.0),
        "T": 8.0 + 10.0 * season + 2.0 * torch.rand(hours, ROWS, generator=g),
        "PET": 0.3 * torch.rand(hours, ROWS, generator=g),
    }


def given_to_dmg(forcing, days, hours, first_day=0):
    """What dhbv2's loader gives: some days, and the hours that follow them."""
    statistics = pair_statistics()

    def normalised(values, key):
        mean, std = (torch.tensor(statistics[part][key]) for part in ("mean", "std"))
        return (values - mean) / (std + EPSILON)

    stacked = torch.stack([forcing[name] for name in ("P", "T", "PET")], -1)[24 * first_day :]
    past = stacked[: 24 * days].reshape(days, 24, ROWS, 3)
    daily = torch.stack([past[..., 0].sum(1), past[..., 1].mean(1), past[..., 2].sum(1)], -1)
    hourly = stacked[24 * days : 24 * days + hours]
    static = normalised(torch.stack([ATTRIBUTES[n] for n in ("a", "b")], -1), "static_input")
    routing = torch.stack([ATTRIBUTES[n] for n in ("a", "c", "length")], -1)

    def shown(values, key):
        return torch.cat([normalised(values, key), static.expand(len(values), -1, -1)], -1)

    return {
        "xc_nn_norm_lof": shown(daily, "dyn_input_daily"),
        "xc_nn_norm_hif": shown(hourly, "dyn_input"),
        "c_nn_norm": static,
        "rc_nn_norm": normalised(routing, "rout_static_input"),
        "x_phy_lof": daily,
        "x_phy_hif": hourly,
        "ac_all": ATTRIBUTES["upstream_area"],
        "elev_all": ATTRIBUTES["elevation"],
        "areas": torch.ones(ROWS),
        "outlet_topo": torch.eye(ROWS),
    }


@pytest.fixture
def trained(tmp_path):
    """A model folder, and dmg's own model, which runs all hours in one batch."""

    def make(hourly, dynamic, floor=1e-5, **network):
        torch.manual_seed(1)
        config = pair_config(hourly, dynamic, DAYS)
        nn = config["model"]["nn"]
        for place in (nn, nn["lof_model"], nn["hif_model"]):
            place |= network
        for key in ("lof_model", "hif_model"):  # what dmg 1.5 asks for
            config["model"]["phy"][key] |= {"warmup": 0, "warmup_states": True, "cache_states": True}
            config["model"]["phy"][key]["nearzero"] = floor
        model = mts.MtsDplModel(
            config={**config["model"], "nn": {**config["model"]["nn"], "name": "StackLstmMlpModel"}}
        )
        model = model.eval().requires_grad_(False)
        for weight in model.parameters():
            weight.mul_(2.0)
        model.phy_model.set_mode(True)
        model.phy_model.train_warmup = 0
        # Ours keeps the hydrographs, which theirs has in any case.
        config["model"]["phy"]["hif_model"]["routing"] = True
        torch.save(model.state_dict(), tmp_path / "hbv_2_mts_ep30.pt")
        (tmp_path / "normalization_statistics.json").write_text(json.dumps(pair_statistics()))
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(config))))
        return tmp_path, model

    return make


def imported(folder):
    import_dmg(folder).save(folder / "bundle")
    return Bundle.load(folder / "bundle").model


@torch.no_grad()
def ours(model, forcing, hours):
    """Our hours after the days, from their initial stores, in their precision."""
    constants = model.precompute(ATTRIBUTES, ROWS, torch.float32)
    state = model.init_state(ROWS, dtype=torch.float32)
    stores = [n for n in state if n.startswith("phy.") and n != "phy.queue"]
    state |= {n: torch.full_like(state[n], EMPTY) for n in stores}
    state = model.spun_up({n: v[: 24 * DAYS] for n, v in forcing.items()}, constants, state)
    state |= {n: torch.full_like(state[n], EMPTY) for n in ("phy.SIE1", "phy.SIE2") if n in state}
    rest = {n: v[24 * DAYS : 24 * DAYS + hours] for n, v in forcing.items()}
    fluxes, end = model.run(rest, constants, state)
    return fluxes, end, constants, state, rest


def excess(actual, expected):
    """Above 1e-5 of the flow and 1e-4 mm/d, both in mm/h."""
    return ((actual - expected).abs() - 1e-5 * expected.abs()).max().item() - 1e-4 / 24


@cases
@torch.no_grad()
def test_the_batch_forward_is_reproduced(trained, hourly, dynamic, floor, record_property):
    folder, model = trained(hourly, dynamic, floor)
    forcing = weather(24 * DAYS + HOURS)
    theirs = model(given_to_dmg(forcing, DAYS, HOURS), batched=True)
    fluxes, _, constants, _, _ = ours(imported(folder), forcing, HOURS)
    runoff = theirs["Qs"].squeeze(-1)
    record_property("Qs", (fluxes["Q_generated"] - runoff).abs().max().item())
    assert excess(fluxes["Q_generated"], runoff) <= 0
    assert runoff.std() > 0.01
    # Theirs keeps 72 hours of a hydrograph that may be 48 hours late, within windows of a week.
    inflow = torch.nn.functional.pad(fluxes["Q_generated"][:CYCLE], (0, 0, 72, 0))
    kept = sum(constants["phy.ordinates"][:, lag] * inflow[72 - lag : len(inflow) - lag] for lag in range(72))
    record_property("streamflow", (kept - theirs["streamflow"][:CYCLE].squeeze(-1)).abs().max().item())
    assert excess(kept, theirs["streamflow"][:CYCLE].squeeze(-1)) <= 0


@cases
@torch.no_grad()
def test_the_hour_by_hour_stepping_is_reproduced(trained, hourly, dynamic, floor, record_property):
    folder, model = trained(hourly, dynamic, floor)
    forcing, warm = weather(24 * DAYS + HOURS), 60
    everything = given_to_dmg(forcing, DAYS, HOURS)
    for network in (model.nn_model.lstm_mlp, model.nn_model.lstm_mlp2):
        network.cache_states = True

    def hours(part):
        return everything | {n: everything[n][part] for n in ("xc_nn_norm_hif", "x_phy_hif")}

    model.phy_model.load_from_cache, model.phy_model.use_from_cache = True, False
    runoff = [model(hours(slice(0, warm)), batched=True)["Qs"].squeeze(-1)]
    model.phy_model.use_from_cache = True
    runoff += [model(hours(slice(t, t + 1)), batched=False)["Qs"].squeeze(-1) for t in range(warm, HOURS)]
    mine = imported(folder)
    _, _, constants, state, rest = ours(mine, forcing, HOURS)
    stepped = []
    for t in range(HOURS):
        fluxes, state = mine.run({n: v[t : t + 1] for n, v in rest.items()}, constants, state)
        stepped.append(fluxes["Q_generated"])
    actual, expected = torch.cat(stepped), torch.cat(runoff)
    record_property("Qs", (actual - expected).abs().max().item())
    assert excess(actual, expected) <= 0


@torch.no_grad()
def test_where_dhbv2_differs_it_jumps_at_each_new_warm_up_and_ours_goes_on(trained, record_property):
    """A cycle later the same hour has another flow there, since its daily model starts from a later day."""
    folder, model = trained("Hbv_2_1_hourly", ("BETA", "K0", "BETAET"))
    forcing = weather(24 * DAYS + HOURS)
    before = model(given_to_dmg(forcing, DAYS, CYCLE + 24), batched=True)["Qs"].squeeze(-1)[CYCLE:]
    again = model(given_to_dmg(forcing, DAYS, 24, first_day=7), batched=True)["Qs"].squeeze(-1)
    jump = (again[0] - before[0]).abs() / before.mean(0)
    record_property("jump", jump.max().item())
    assert jump.max() > 0.05
    mine = imported(folder)
    fluxes, _, _, _, _ = ours(mine, forcing, CYCLE + 24)
    assert excess(fluxes["Q_generated"][CYCLE:], before) <= 0


@torch.no_grad()
def test_where_dhbv2_differs_it_loses_the_water_of_late_hydrographs_and_ours_none(trained, record_property):
    folder, model = trained("Hbv_2_1_hourly", ("BETA", "K0", "BETAET"))
    forcing = weather(24 * DAYS + HOURS)
    theirs = model(given_to_dmg(forcing, DAYS, HOURS), batched=True)
    fluxes, end, _, _, _ = ours(imported(folder), forcing, HOURS)
    generated = fluxes["Q_generated"].sum(0)
    torch.testing.assert_close(fluxes["Q"].sum(0) + end["phy.queue"].sum(-1), generated, rtol=1e-4, atol=1e-4)
    lost = 1.0 - theirs["streamflow"].sum(0).squeeze(-1) / fluxes["Q"].sum(0)
    record_property("lost", lost.max().item())
    assert lost.max() > 0.02


@torch.no_grad()
@pytest.mark.parametrize("option", ["use_in_proj", "use_transfer"])
def test_networks_without_a_layer_before_the_lstm_or_without_transfer_are_reproduced(trained, option):
    folder, model = trained("Hbv_2_hourly", ("BETA", "K0"), **{option: False})
    forcing = weather(24 * DAYS + HOURS)
    theirs = model(given_to_dmg(forcing, DAYS, HOURS), batched=True)
    names = {name.split(".")[1] for name in model.state_dict()} | {
        n.split(".")[2] for n in model.state_dict()
    }
    assert {"use_in_proj": "in_proj", "use_transfer": "h_transfer"}[option] not in names
    fluxes, _, _, _, _ = ours(imported(folder), forcing, HOURS)
    assert excess(fluxes["Q_generated"], theirs["Qs"].squeeze(-1)) <= 0


#: Names of the attributes that dhbv2's component knows.
KNOWN = {"a": "aridity", "b": "meanP", "c": "NDVI", "length": "lengthkm"}


def test_the_component_of_dhbv2_is_reproduced_by_ours_until_it_warms_up_anew(
    trained, tmp_path, record_property
):
    """Both pushed hour by hour; ours through its BMI, from the spin-up on."""
    bmi = pytest.importorskip("dhbv2.mts_bmi", reason="dhbv2 is not installed here")
    folder, _ = trained("Hbv_2_hourly", ("BETA", "K0", "BETAET"))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["model"]["phy"]["hif_model"]["routing"] = False
    for key in ("lof_model", "hif_model"):
        network = config["model"]["nn"][key]
        network |= {k: [KNOWN[n] for n in network[k]] for k in ("attributes", "attributes2") if k in network}
    period = {"start_time": "2000/01/01", "end_time": "2001/01/01"}
    config |= {
        "mode": "sim", "device": "cpu", "gpu_id": 0, "seed": 1, "name": "x", "save_path": ".",
        "model_dir": f"{folder}/", "sim": {**period}, "test": {**period, "test_epoch": 30},
        "train": {**period, "target": ["streamflow"]},
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "hbv_2_mts_ep30.pt").rename(folder / "dhbv_2_mts_ep30.pt")
    attributes = {KNOWN.get(n, n): values[0].item() for n, values in ATTRIBUTES.items()}
    theirs = {
        **{n: attributes[n] for n in KNOWN.values()}, "meanelevation": attributes["elevation"],
        "uparea": attributes["upstream_area"], "catchsize": 7.0, "catchment_id": "cat-1", "dtype": "float32",
        "model_dir": f"{folder}/", "time_step": "1 hour", "time_step_size": 3600, "verbose": False,
        "warmup": {
            "cycle_days": 7, "daily_mode": "periodic", "daily_warmup_days": DAYS, "hourly_mode": "cold",
        },
    }  # fmt: skip
    (tmp_path / "theirs.yaml").write_text(yaml.safe_dump(theirs))
    import_dmg(folder).save(tmp_path / "bundle")
    of_ours = {n: v for n, v in attributes.items() if n not in ("NDVI", "lengthkm")}
    ours = {"bundle": "bundle", "catchments": {"ids": ["cat-1"], "attributes": of_ours}, "engine": "eager"}
    (tmp_path / "ours.yaml").write_text(yaml.safe_dump(ours))
    forcing = {n: v[:, 0].numpy() for n, v in weather(24 * DAYS + HOURS).items()}
    their, mine = bmi.MtsDeltaModelBmi(), DeltaModelBmi()
    their.initialize(str(tmp_path / "theirs.yaml"))
    mine.initialize(str(tmp_path / "ours.yaml"))
    stores = ("SNOWPACK", "MELTWATER", "SM", "SUZ", "SLZ")
    for store in stores:
        mine.set_value(f"phy.{store}", np.full(2, EMPTY))
    runoff = []
    for hour in range(24 * DAYS + CYCLE + 1):
        now = np.array([[[forcing[n][hour] for n in ("P", "T", "PET")]]])
        their._get_current_forcing = lambda now=now: now
        their.update()
        for n in ("P", "T", "PET"):
            mine.set_value(n, forcing[n][hour : hour + 1].astype(float))
        mine.update()
        theirs_now = np.asarray(their.get_value_ptr("land_surface_water__runoff_volume_flux")).item()
        # What our last day releases in the first hourly day is none of the hour's runoff.
        runoff.append((theirs_now, mine.get_value_ptr("Q").item() * 1000.0))
    expected, actual = torch.tensor(runoff[24 * DAYS + 24 :], dtype=torch.float64).unbind(-1)
    record_property("Q", (actual - expected)[:-1].abs().max().item())
    assert excess(actual[:-1], expected[:-1]) <= 0
    assert expected[:-1].std() > 0.001
    jump = (expected[-1] - expected[-2]).abs() / expected[-2]
    record_property("jump", jump.item())
    assert (actual[-1] - actual[-2]).abs() < (expected[-1] - expected[-2]).abs()
