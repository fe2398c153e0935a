"""HBV side by side with the public hydrodl2 package, which has to be installed (with numpy 1.26) to run this.

Both get the same raw parameters, forcing and initial stores, in float32.
"""

import pytest
import torch
from dmg_bmi.physics import Catchment, run

from dmg_bmi.model.registry import build_process_model

hydrodl2 = pytest.importorskip(
    "hydrodl2", reason="hydrodl2 is not installed; it needs an environment of its own"
)

STORES = ("SNOWPACK", "MELTWATER", "SM", "SUZ", "SLZ")
PEERS = {"hbv": "Hbv", "hbv_1_1p": "Hbv_1_1p", "hbv_2": "Hbv_2"}
DYNAMIC = {"none": (), "some": ("BETA", "BETAET", "K0", "TT"), "all": None}
ROUTING = 15
EMPTY = 0.001
#: Below, at and above the thresholds of elevation (m) and upstream area (km2).
ELEVATION = (10.0, 1999.0, 2000.0, 3500.0)
AREA = (0.0, 30.0, 900.0, 2499.0, 2500.0, 2560.0, 4000.0, 2e5)


def weather(time, rows, generator):
    """``[time, rows]``: a cold and a warm season, many dry days, and a demand that can dry the soil out."""
    season = torch.sin(torch.arange(time) * (2 * torch.pi / 365)).unsqueeze(-1)
    wet = torch.rand(time, rows, generator=generator)
    rain = torch.where(wet < 0.4, -8.0 * torch.rand(time, rows, generator=generator).log(), 0.0)
    temperature = 3.0 + 12.0 * season + 4.0 * torch.randn(time, rows, generator=generator)
    demand = torch.relu(2.5 + 2.5 * season + 0.5 * torch.randn(time, rows, generator=generator))
    return {"P": rain, "T": temperature, "PET": demand}


class Case:
    """One set of raw parameters and forcing, given to either model."""

    def __init__(self, name, nmul, dynamic, time, rows=24, seed=0, **forcing):
        generator = torch.Generator().manual_seed(seed)
        every = build_process_model({"name": name, **({"betaet": True} if name == "hbv" else {})})
        names = tuple(p.name for p in every.declaration.parameters)
        self.dynamic = tuple(n for n in names if DYNAMIC[dynamic] is None or n in DYNAMIC[dynamic])
        # hydrodl2's HBV 1.0 has the parameter only where it is dynamic.
        betaet = name != "hbv" or "BETAET" in self.dynamic
        description = {"name": "hbv", "betaet": betaet} if name == "hbv" else {"name": name}
        self.column = build_process_model(description)
        self.names = tuple(n for n in names if betaet or n != "BETAET")
        self.name, self.nmul, self.time, self.rows = name, nmul, time, rows
        self.forcing = weather(time, rows, generator) | {
            n: torch.full((time, rows), v) for n, v in forcing.items()
        }
        self.raw = 2.0 * torch.randn(time, rows, len(self.names), nmul, generator=generator)
        self.raw_route = 2.0 * torch.randn(rows, 2, generator=generator)
        self.static = {
            "elevation": torch.tensor(ELEVATION).repeat(rows)[:rows],
            "upstream_area": torch.tensor(AREA).repeat_interleave(len(ELEVATION)).repeat(rows)[:rows],
        }

    @property
    def model(self):
        return Catchment(self.column, self.nmul, ROUTING)

    def parameters(self):
        """Ours: constant ``[rows, nmul]``, of the last step, and dynamic ``[time, rows, nmul]``."""

        def scaled(name, raw):
            p = self.model.declaration.parameter(name)
            return torch.sigmoid(raw) * (p.upper - p.lower) + p.lower

        series = dict(zip(self.names, self.raw.unbind(2), strict=True))
        constant = {n: scaled(n, v[-1]) for n, v in series.items() if n not in self.dynamic}
        constant |= {n: scaled(n, self.raw_route[:, i]) for i, n in enumerate(("route_a", "route_b"))}
        return constant, {n: scaled(n, series[n]) for n in self.dynamic}

    def ours(self, dtype=torch.float32):
        def cast(values):
            return {n: v.to(dtype) for n, v in values.items()}

        state = self.model.init_state(self.rows, dtype=dtype)
        state |= {n: torch.full_like(state[n], EMPTY) for n in STORES}
        constant, dynamic = self.parameters()
        return run(
            self.model,
            cast(self.forcing),
            state,
            cast(constant),
            cast(self.static),
            1.0,
            dynamic=cast(dynamic),
        )

    def peer_model(self, **options):
        name = PEERS[self.name]
        config = {
            "dynamic_params": {name: [f"par{n}" for n in self.dynamic]},
            "nmul": self.nmul,
            "routing": True,
            "warmup": 0,
            "warmup_states": False,
            **options,
        }
        return hydrodl2.load_model(name)(config, device=torch.device("cpu"))

    def peer_input(self, time=slice(None)):
        x = {"x_phy": torch.stack([self.forcing[n] for n in ("P", "T", "PET")], -1)[time]}
        if self.name != "hbv_2":
            end = self.raw_route.expand(self.time, self.rows, 2)
            return x, torch.cat([self.raw.flatten(2), end], -1)[time]
        x |= {"ac_all": self.static["upstream_area"], "elev_all": self.static["elevation"]}
        is_dynamic = torch.tensor([n in self.dynamic for n in self.names])
        dynamic = torch.sigmoid(self.raw[:, :, is_dynamic]).flatten(2)[time]
        static = torch.sigmoid(torch.cat([self.raw[-1][:, ~is_dynamic].flatten(1), self.raw_route], -1))
        return x, (dynamic, static)

    def theirs(self, **options):
        """Their fluxes ``[time, rows]`` under our names, and their final stores."""
        model = self.peer_model(**options)
        with torch.no_grad():
            out = model(*self.peer_input())
        stores = model.get_states()
        if self.name == "hbv_2":
            stores = [s[-1] for s in stores]
        renamed = {
            "Q": "streamflow",
            "Q_generated": "streamflow_no_rout",
            "Q0": "srflow_no_rout",
            "Q1": "ssflow_no_rout",
            "Q2": "gwflow_no_rout",
            "ET": "AET_hydro",
            "capillary": "capillary",
        }
        fluxes = {ours: out[theirs].squeeze(-1) for ours, theirs in renamed.items() if theirs in out}
        return fluxes, dict(zip(STORES, stores, strict=True))


def excess(actual, expected, absolute):
    """By how much the difference is more than 1e-5 of the expected value and `absolute`."""
    return ((actual - expected).abs() - 1e-5 * expected.abs()).max().item() - absolute


def assert_parity(case, record_property, **options):
    fluxes, end = case.ours()
    their_fluxes, their_end = case.theirs(**options)
    assert {"Q", "Q_generated", "ET"} <= their_fluxes.keys()
    for flux, expected in their_fluxes.items():
        record_property(flux, (fluxes[flux] - expected).abs().max().item())
        assert excess(fluxes[flux], expected, 1e-4) <= 0, flux
    for store, expected in their_end.items():
        record_property(store, (end[store] - expected).abs().max().item())
        assert excess(end[store], expected, 1e-3) <= 0, store


@pytest.mark.parametrize("time", [15, 100, 1461])
@pytest.mark.parametrize("dynamic", DYNAMIC)
@pytest.mark.parametrize("nmul", [1, 4, 16])
@pytest.mark.parametrize("name", PEERS)
def test_fluxes_and_final_stores_equal_those_of_hydrodl2(name, nmul, dynamic, time, record_property):
    """Routed and not, below and above the thresholds of elevation and upstream area, without its floors."""
    case = Case(name, nmul, dynamic, time, rows=len(ELEVATION) * len(AREA))
    assert_parity(case, record_property, nearzero=0.0)


@pytest.mark.parametrize("nmul", [1, 4, 16])
@pytest.mark.parametrize("name", PEERS)
def test_constant_parameters_hide_the_floors_of_hydrodl2(name, nmul, record_property):
    """Where parameters jump every day, what its floors made can run off at once: 2e-4 mm/d unrouted."""
    assert_parity(Case(name, nmul, "none", 1461, rows=len(ELEVATION) * len(AREA)), record_property)


def test_where_hydrodl2_differs_its_soil_never_dries_below_a_floor_that_makes_water():
    """A drought: from the second day on our soil is what evaporation left of it, theirs at least 1e-5 mm."""
    case = Case("hbv_1_1p", 1, "none", 400, rows=8, P=0.0, T=25.0, PET=8.0)
    case.raw[:, :, case.names.index("BETAET")] = -10.0
    case.raw[:, :, case.names.index("C")] = -10.0
    fluxes, end = case.ours(torch.float64)
    their_fluxes, their_end = case.theirs()
    before = EMPTY * len(STORES)
    lost = before - (fluxes["Q_generated"] + fluxes["ET"]).sum(0) - sum(end[s].squeeze(-1) for s in STORES)
    assert lost.abs().max() < 1e-12
    made = (their_fluxes["Q_generated"] + their_fluxes["ET"]).double().sum(0)
    made = made + sum(their_end[s].squeeze(-1) for s in STORES) - before
    assert made.min() > 1e-5
    assert their_end["SM"].min() >= 0.9e-5 > end["SM"].max()


def test_where_hydrodl2_differs_stepping_it_loses_what_the_hydrograph_holds():
    """Day by day, its HBV 2.0 hands out the first ordinate of the hydrograph and forgets the rest."""
    case = Case("hbv_2", 1, "none", 60, rows=8)
    model = case.peer_model(cache_states=True)
    stepped = torch.zeros(8)
    for t in range(60):
        with torch.no_grad():
            stepped += model(*case.peer_input(slice(t, t + 1)))["streamflow"].reshape(8)
    fluxes, end = case.ours()
    generated = fluxes["Q_generated"].sum(0)
    torch.testing.assert_close(fluxes["Q"].sum(0) + end["queue"].sum(-1), generated, rtol=1e-5, atol=1e-4)
    assert stepped.sum() < 0.9 * generated.sum()
