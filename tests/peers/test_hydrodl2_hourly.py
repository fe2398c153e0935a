"""Hourly HBV 2.0 and 2.1 side by side with hydrodl2 1.4 (an environment of its own), in float32."""

import pytest
import torch
from dmg_bmi.physics import Catchment, residual, run

from dmg_bmi.model.registry import build_process_model

hydrodl2 = pytest.importorskip(
    "hydrodl2", reason="hydrodl2 is not installed; it needs an environment of its own"
)
if "hbv_2_1_hourly" not in hydrodl2.available_models()["hbv"]:
    pytest.skip("hydrodl2 before 1.4 has no hourly HBV 2.1", allow_module_level=True)

PEERS = {"hbv_2_hourly": "Hbv_2_hourly", "hbv_2_1_hourly": "Hbv_2_1_hourly"}
DYNAMIC = {"none": (), "some": ("BETA", "K0", "BETAET"), "others": ("F0", "ALPHA", "TT")}
ROUTING, DT, EMPTY = 120, 1 / 24, 0.001
#: Ordinates that hydrodl2 keeps.
KEPT = 72
models = pytest.mark.parametrize("name", PEERS)


class Case:
    """One set of raw parameters and hourly forcing, given to either model."""

    def __init__(self, name, nmul, dynamic, time, rows=24, seed=0, rain=12.0):
        g = torch.Generator().manual_seed(seed)
        self.name, self.nmul, self.time, self.rows = name, nmul, time, rows
        self.model = Catchment(build_process_model({"name": name}), nmul, ROUTING)
        names = [p.name for p in self.model.column.declaration.parameters]
        self.dynamic = [n for n in names if n in DYNAMIC[dynamic]]
        self.static_names = [n for n in names if n not in self.dynamic]
        hours = torch.arange(time)[:, None]
        wet = torch.rand(time, rows, generator=g) < 0.15
        self.forcing = {
            # Some hours bring more than a soil takes up.
            "P": torch.where(wet, -rain * torch.rand(time, rows, generator=g).log(), 0.0),
            "T": 4.0 + 8.0 * torch.sin(hours / 300) + 3.0 * torch.randn(time, rows, generator=g),
            "PET": 0.25 * torch.rand(time, rows, generator=g),
        }
        self.share = torch.rand(rows, len(self.static_names) * nmul, generator=g)
        self.moving = torch.rand(time, rows, len(self.dynamic) * nmul, generator=g)
        self.routing_share = torch.rand(rows, 3, generator=g)
        self.static = {
            "elevation": torch.tensor([10.0, 1999.0, 2000.0, 3500.0]).repeat(rows)[:rows],
            "upstream_area": torch.tensor([0.0, 900.0, 2499.0, 2500.0, 2560.0, 2e5]).repeat(rows)[:rows],
        }

    def _scaled(self, names, share, shape):
        bounds = {p.name: (p.lower, p.upper) for p in self.model.declaration.parameters}
        parts = share.unflatten(-1, (len(names), *shape)).unbind(-1 - len(shape)) if names else ()
        return {
            n: part * (bounds[n][1] - bounds[n][0]) + bounds[n][0]
            for n, part in zip(names, parts, strict=True)
        }

    def ours(self):
        state = self.model.init_state(self.rows, dtype=torch.float32)
        state = {n: v if n == "queue" else torch.full_like(v, EMPTY) for n, v in state.items()}
        constant = self._scaled(self.static_names, self.share, (self.nmul,))
        constant |= self._scaled(("route_a", "route_b", "route_tau"), self.routing_share, ())
        moving = self._scaled(self.dynamic, self.moving, (self.nmul,))
        fluxes, end = run(self.model, self.forcing, state, constant, self.static, DT, dynamic=moving)
        (balance,) = self.model.declaration.balances
        return fluxes, end, residual(self.model, balance, self.forcing, fluxes, state, end), constant

    @torch.no_grad()
    def theirs(self):
        name = PEERS[self.name]
        config = {
            "warmup": 0, "warmup_states": False, "cache_states": False, "routing": False,
            "nmul": self.nmul, "nearzero": 0.0, "variables": ["prcp", "tmean", "pet"],
            "dynamic_params": {name: [f"par{n}" for n in self.dynamic]},
        }  # fmt: skip
        model = hydrodl2.load_model(name)(config, device=torch.device("cpu"))
        given = {
            "x_phy": torch.stack([self.forcing[n] for n in ("P", "T", "PET")], -1),
            "ac_all": self.static["upstream_area"],
            "elev_all": self.static["elevation"],
            "areas": torch.ones(self.rows),
            "outlet_topo": torch.eye(self.rows),
        }
        fluxes = model(given, (self.moving, self.share, self.routing_share))
        stores = {n: s[-1] for n, s in zip(model.state_names, model.get_states(), strict=True)}
        return {n: v.squeeze(-1) for n, v in fluxes.items()}, stores


def excess(actual, expected, absolute):
    return ((actual - expected).abs() - 1e-5 * expected.abs()).max().item() - absolute


@models
@pytest.mark.parametrize("nmul", [1, 4])
@pytest.mark.parametrize("dynamic", DYNAMIC)
@pytest.mark.parametrize("time", [100, 1500])
def test_runoff_and_final_stores_equal_those_of_hydrodl2(name, nmul, dynamic, time, record_property):
    """Below and above the thresholds of elevation and upstream area, without its floors."""
    case = Case(name, nmul, dynamic, time)
    fluxes, end, unclosed, _ = case.ours()
    their_fluxes, their_end = case.theirs()
    record_property("Qs", (fluxes["Q_generated"] - their_fluxes["Qs"]).abs().max().item())
    assert excess(fluxes["Q_generated"], their_fluxes["Qs"], 1e-4) <= 0
    assert {*their_end} == {s.name for s in case.model.column.declaration.states}
    for store, expected in their_end.items():
        record_property(store, (end[store] - expected).abs().max().item())
        assert excess(end[store], expected, 1e-3) <= 0, store
    assert fluxes["infiltration_excess"].max() > 1.0
    assert unclosed.abs().max() < 1e-5 * case.forcing["P"].sum(0).max()


@models
def test_the_flow_equals_that_of_hydrodl2_but_for_the_water_that_it_cuts_off(name, record_property):
    """It keeps 72 hours of a hydrograph that is up to 48 hours late; all that leaves later is lost there."""
    case = Case(name, 2, "some", 1500)
    fluxes, end, _, parameters = case.ours()
    their_fluxes, _ = case.theirs()
    ordinates = case.model.derive(parameters, DT)["ordinates"]
    inflow = torch.nn.functional.pad(fluxes["Q_generated"], (0, 0, ROUTING, 0))
    cut_off = sum(
        ordinates[:, lag] * inflow[ROUTING - lag : len(inflow) - lag] for lag in range(KEPT, ROUTING)
    )
    actual = fluxes["Q"] - cut_off
    record_property("streamflow", (actual - their_fluxes["streamflow"]).abs().max().item())
    assert excess(actual, their_fluxes["streamflow"], 1e-4) <= 0
    generated = fluxes["Q_generated"].sum(0)
    torch.testing.assert_close(fluxes["Q"].sum(0) + end["queue"].sum(-1), generated, rtol=1e-4, atol=1e-3)
    lost = 1.0 - their_fluxes["streamflow"].sum(0) / (generated - end["queue"].sum(-1))
    record_property("lost", lost.max().item())
    assert lost.max() > 0.2


@models
def test_a_prompt_hydrograph_is_that_of_hydrodl2(name):
    case = Case(name, 1, "none", 600)
    case.routing_share *= torch.tensor([0.3, 0.05, 0.5])
    fluxes, _, _, _ = case.ours()
    assert excess(fluxes["Q"], case.theirs()[0]["streamflow"], 1e-4) <= 0
