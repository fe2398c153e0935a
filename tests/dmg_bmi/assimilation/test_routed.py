"""Laws of an analysis of a basin: gauges inside a network tell of the divides and rivers above them."""

import pytest
import torch

from dmg_bmi import DeltaModel, RoutedModel, hydrofabric, routing_model
from dmg_bmi.errors import ConfigError, ForcingError
from dmg_bmi.forecast import Assimilation, analyse_routed
from dmg_bmi.model.routed_model import RoutedState
from dmg_bmi.synthetic import river_basin

HOUR, WINDOW, N = 3600.0, 30, 12
#: The outlet, and two rivers above it.
GAUGES = [0, 3, 5]
OPTIONS = Assimilation(window=WINDOW, ages=(6, 12), relative_error=0.02, mean_error=0.01, memory=1e3)


def weather(steps, seed):
    generator = torch.Generator().manual_seed(seed)
    rain = 6 * torch.rand(steps, N, generator=generator, dtype=torch.float64) ** 4
    return {"P": rain, "T": torch.full_like(rain, 12.0), "PET": torch.full_like(rain, 0.05)}


class Basin:
    """A window of a basin, and a truth of other rain, stores and rivers."""

    def __init__(self, folder):
        river_basin.generate(N, area=250.0, seed=7).write(folder / "basin.gpkg")
        fabric = hydrofabric.read(folder / "basin.gpkg")
        self.network = fabric.routable().attributes()
        torch.manual_seed(1)
        runoff = DeltaModel.build(
            nn={"name": "mlp", "hidden_sizes": [8]},
            phy_model={"name": "hbv"},
            roles=[{"attributes": ["soil"]}],
            step=HOUR,
        )
        self.model = RoutedModel(runoff, routing_model(substeps=1), fabric.divides).double().eval()
        self.attributes = {"soil": torch.linspace(-1, 1, N).double()}
        self.forcing = weather(WINDOW, seed=3)
        wet = {"phy.SM": 300.0, "phy.SUZ": 5.0, "phy.SLZ": 20.0}
        stores = {k: torch.full_like(v, wet.get(k, 0.0)) for k, v in runoff.init_state(N).items()}
        river = {"phy.storage": torch.full((N,), 2e4).double(), "phy.discharge": torch.ones(N).double()}
        with torch.no_grad():
            _, self.state = self.run(weather(48, seed=2), RoutedState(stores, river))
            self.plain, self.after = self.run(self.forcing, self.state)
            drawn = torch.randn(3, N, generator=torch.Generator().manual_seed(5)).double()
            factor = (0.2 + 0.15 * drawn).exp()
            true_state = RoutedState(
                {
                    n: v * factor[1] if n in ("phy.SLZ", "phy.SUZ") else v
                    for n, v in self.state.runoff.items()
                },
                {n: v * factor[2] for n, v in self.state.routing.items()},
            )
            rain = {**self.forcing, "P": self.forcing["P"] * factor[0]}
            self.truth, self.true_after = self.run(rain, true_state)

    def run(self, forcing, state):
        return self.model(forcing, self.attributes, self.network, state)

    def analyse(self, observed, options=OPTIONS, gauges=GAUGES):
        typical = self.plain[:, gauges].mean(0)
        return analyse_routed(
            self.model,
            self.forcing,
            self.attributes,
            self.network,
            self.state,
            observed,
            gauges,
            typical,
            options,
        )


@pytest.fixture(scope="module")
def basin(tmp_path_factory):
    return Basin(tmp_path_factory.mktemp("basin"))


@pytest.fixture(scope="module")
def found(basin):
    return basin.analyse(basin.truth[:, GAUGES])


def test_gauges_bring_flow_and_stores_above_them_nearer_to_the_truth(basin, found):
    upstream = [k for k in range(N) if k not in GAUGES]
    off, left = ((q - basin.truth)[WINDOW // 2 :].square().mean(0) for q in (basin.plain, found.flow))
    assert (left[GAUGES] < 0.05 * off[GAUGES]).all()
    assert left[upstream].sum() < 0.5 * off[upstream].sum()
    for part, name in (("runoff", "phy.SUZ"), ("runoff", "phy.SLZ"), ("routing", "phy.storage")):
        before, after, true = (
            getattr(state, part)[name].flatten() for state in (basin.after, found.state, basin.true_after)
        )
        assert (after - true).square().sum() < 0.6 * (before - true).square().sum(), name


def test_the_balance_of_runoff_and_rivers_closes_with_what_the_analysis_gave(basin, found):
    runoff, routing = basin.model.runoff, basin.model.routing
    constants = runoff.precompute(basin.attributes, N)
    balance, (river,) = runoff.declaration.balances[0], routing.declaration.balances
    residual = runoff.residual(
        balance, basin.forcing, found.fluxes, constants, basin.state.runoff, found.state.runoff
    )
    assert found.added.abs().max() > 0.1
    assert torch.allclose(residual, -found.added, rtol=0, atol=1e-9)
    entered = (found.fluxes["Q"] * basin.model.area).sum() * 1e3
    before, after = (routing.storage(river, s.routing, {}).sum() for s in (basin.state, found.state))
    left = found.flow[:, 0].sum() * HOUR
    assert found.added_to_rivers.abs().max() > 1.0
    torch.testing.assert_close(
        left + after - before, entered + found.added_to_rivers.sum(), rtol=1e-9, atol=0
    )


def test_without_observations_nothing_changes_bit_for_bit(basin):
    none = basin.analyse(torch.full((WINDOW, len(GAUGES)), torch.nan, dtype=torch.float64))
    assert torch.equal(none.flow, basin.plain)
    for part in ("runoff", "routing"):
        after = getattr(basin.after, part)
        assert all(torch.equal(getattr(none.state, part)[name], value) for name, value in after.items())
    assert not none.added.any()
    assert not none.added_to_rivers.any()
    assert none.used.tolist() == [0, 0, 0]


def test_a_perfect_model_is_not_moved_by_perfect_observations(basin):
    same = basin.analyse(basin.plain[:, GAUGES])
    assert all((factor - 1).abs().max() < 1e-12 for factor in same.factors.values())


def test_the_gradient_of_a_gauge_by_controls_is_that_of_differences(basin):
    from dmg_bmi.assimilation.routed import _Basin

    window = _Basin(basin.model, basin.forcing, basin.attributes, basin.network, basin.state, OPTIONS)
    places = [z.normal_(std=0.3).requires_grad_() for z in window.start()]

    def flow(*places):
        return window.flow(places)[:, GAUGES].sum(0)

    assert torch.autograd.gradcheck(flow, places, eps=1e-6, atol=1e-5, rtol=1e-4, fast_mode=True)


def test_gaps_are_ignored_and_counted_and_absurd_flow_is_refused(basin):
    observed = basin.plain[:, GAUGES].clone()
    observed[4:9, 1] = torch.nan
    assert basin.analyse(observed).used.tolist() == [WINDOW, WINDOW - 5, WINDOW]
    observed[2, 0] = -1.0
    with pytest.raises(ForcingError, match="row 0 in step 2"):
        basin.analyse(observed)


def test_a_method_that_a_basin_lacks_is_refused(basin):
    with pytest.raises(ConfigError, match="no analysis with method ensemble"):
        basin.analyse(basin.truth[:, GAUGES], Assimilation(method="ensemble", window=WINDOW, ages=(6, 12)))
