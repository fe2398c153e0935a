"""Laws of an analysis: what it may change, what it must not, and that its water is accounted for."""

import pytest
import torch

from dmg_bmi import DeltaModel
from dmg_bmi.assimilation.analysis import Controls
from dmg_bmi.errors import ConfigError, ForcingError
from dmg_bmi.forecast import Assimilation, analyse

WINDOW, ROWS = 20, 4
OPTIONS = Assimilation(window=WINDOW, ages=(1, 5))
METHODS = {
    "variational": OPTIONS,
    "ensemble": Assimilation(method="ensemble", window=WINDOW, ages=(1, 5), members=12),
    "particles": Assimilation(method="particles", window=WINDOW, ages=(1, 5), members=12),
}


@pytest.fixture(params=METHODS)
def options(request):
    return METHODS[request.param]


def built(roles=None, **phy):
    torch.manual_seed(1)
    return DeltaModel.build(
        nn={"name": "mlp", "hidden_sizes": [8]},
        phy_model={"name": "hbv", "nmul": 2, "routing": 15, **phy},
        roles=roles or [{"attributes": ["slope"]}],
    ).eval()


def weather(steps, rows=ROWS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rain = 12 * torch.rand(steps, rows, generator=generator, dtype=torch.float64) ** 3
    return {"P": rain, "T": torch.full_like(rain, 9.0), "PET": torch.full_like(rain, 1.5)}


class Case:
    """A model in mid-run before a window, and the flow of a truth whose stores and rain are known."""

    def __init__(self, model, rows=ROWS):
        self.model = model
        attributes = {"slope": torch.linspace(0, 1, rows, dtype=torch.float64)}
        self.constants = model.precompute(attributes, rows)
        state = model.init_state(rows)
        with torch.no_grad():
            _, self.state = model.run(weather(200, rows), self.constants, state)
            self.forcing = weather(WINDOW, rows, seed=1)
            self.plain, self.after = model.run(self.forcing, self.constants, self.state)
        self.typical = self.plain["Q"].mean(0)

    def analyse(self, observed, options=OPTIONS):
        return analyse(self.model, self.forcing, self.constants, self.state, observed, self.typical, options)

    def of_truth(self, rain=1.4, store=1.3):
        forcing = {**self.forcing, "P": rain * self.forcing["P"]}
        state = {n: store * v if n.endswith(("SLZ", "SM")) else v for n, v in self.state.items()}
        with torch.no_grad():
            return self.model.run(forcing, self.constants, state)[0]["Q"]


@pytest.fixture
def case():
    return Case(built())


def test_without_observations_nothing_changes_bit_for_bit(case, options):
    found = case.analyse(torch.full((WINDOW, ROWS), float("nan"), dtype=torch.float64))
    assert all(torch.equal(found.state[name], value) for name, value in case.after.items())
    assert all(torch.equal(found.fluxes[name], value) for name, value in case.plain.items())
    assert torch.equal(found.added, torch.zeros(ROWS, dtype=torch.float64))
    assert found.used.tolist() == [0] * ROWS


def test_a_row_without_observations_stays_as_it_is_beside_others(case, options):
    observed = case.of_truth()
    observed[:, 2] = float("nan")
    found = case.analyse(observed, options)
    assert found.used.tolist() == [WINDOW, WINDOW, 0, WINDOW]
    for name, value in case.after.items():
        assert torch.equal(found.state[name][2], value[2])
    assert not torch.equal(found.state["phy.SM"][1], case.after["phy.SM"][1])


def test_a_perfect_model_is_not_moved_by_perfect_observations(case, options):
    found = case.analyse(case.plain["Q"].clone(), options)
    for factor in found.factors.values():
        assert torch.allclose(factor, torch.ones_like(factor), rtol=0, atol=1e-12)
    assert found.added.abs().max() < 1e-9


@pytest.mark.parametrize(("rain", "store"), [(1.4, 1.0), (0.7, 1.0), (1.0, 1.4), (1.3, 0.8)])
def test_observations_of_another_truth_bring_the_forecast_nearer_to_it(case, rain, store):
    observed = case.of_truth(rain, store)
    found = case.analyse(observed)
    off, left = ((q - observed).square().sum(0) for q in (case.plain["Q"], found.fluxes["Q"]))
    assert (left < 0.5 * off).all()
    if store == 1.0:
        assert (found.factors["P"].log().sum(0).sign() == (1 if rain > 1 else -1)).all()


@pytest.mark.parametrize(("rain", "store"), [(1.4, 1.0), (0.7, 1.0), (1.0, 1.4), (1.3, 0.8)])
@pytest.mark.parametrize("method", ["ensemble", "particles"])
def test_a_filter_ends_nearer_to_another_truth_than_it_began(case, rain, store, method):
    """Its last steps, since it learns of an observation only when it comes."""
    observed = case.of_truth(rain, store)
    found = case.analyse(observed, METHODS[method])
    late = slice(WINDOW // 2, None)
    off, left = ((q - observed)[late].square().sum(0) for q in (case.plain["Q"], found.fluxes["Q"]))
    assert (left < 0.7 * off).all()


@pytest.mark.parametrize("method", ["ensemble", "particles"])
def test_a_seed_makes_a_filter_repeatable_and_another_one_another(case, method):
    observed = case.of_truth()
    keys = {"method": method, "window": WINDOW, "ages": (1, 5)}
    one, same, other = (
        case.analyse(observed, Assimilation(**keys, seed=seed)).state["phy.SM"] for seed in (3, 3, 4)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


MODELS = {
    "HBV": lambda: built(),
    "HBV 1.1p, 16 components": lambda: built(name="hbv_1_1p", nmul=16),
    "EXP-HYDRO": lambda: built(name="exphydro", nmul=1, routing=None),
    "corrected input": lambda: DeltaModel.build(
        nn={"given": {"name": "mlp"}, "gauge": {"name": "lstm", "hidden_size": 4}},
        phy_model={"name": "hbv", "nmul": 2, "routing": 15},
        roles=[
            {"network": "given", "attributes": ["slope"]},
            {
                "role": "correct_input",
                "network": "gauge",
                "inputs": ["P", "T"],
                "corrects": {"P": [0.5, 1.5]},
            },
        ],
    ).eval(),
    "corrected output": lambda: DeltaModel.build(
        nn={"given": {"name": "mlp"}, "flow": {"name": "lstm", "hidden_size": 4}},
        phy_model={"name": "hbv", "nmul": 2, "routing": 15},
        roles=[
            {"network": "given", "attributes": ["slope"]},
            {
                "role": "correct_output",
                "network": "flow",
                "inputs": ["P", "T"],
                "corrects": {"Q": [0.5, 1.5]},
            },
        ],
    ).eval(),
    "corrected output by attributes": lambda: DeltaModel.build(
        nn={"given": {"name": "mlp"}, "flow": {"name": "mlp"}},
        phy_model={"name": "hbv", "nmul": 2, "routing": 15},
        roles=[
            {"network": "given", "attributes": ["slope"]},
            {
                "role": "correct_output",
                "network": "flow",
                "attributes": ["slope"],
                "corrects": {"Q": [0.5, 1.5]},
            },
        ],
    ).eval(),
    "weighed": lambda: DeltaModel.build(
        nn={k: {"name": "mlp", "hidden_sizes": [4]} for k in ("one", "two", "share")},
        phy_model={
            "wet": {"name": "hbv", "nmul": 2, "routing": 15},
            "dry": {"name": "hbv", "nmul": 2, "routing": 15},
        },
        roles=[
            {"network": "one", "model": "wet", "attributes": ["slope"]},
            {"network": "two", "model": "dry", "attributes": ["slope"]},
            {"role": "weights", "network": "share", "attributes": ["slope"]},
        ],
    ).eval(),
}


@pytest.mark.parametrize("kind", MODELS)
def test_the_balance_closes_with_what_the_analysis_gave_as_exchange(kind, options):
    case = Case(MODELS[kind]())
    found = case.analyse(1.5 * case.plain["Q"] + 0.1, options)
    balance = case.model.declaration.balances[0]
    residual = case.model.residual(
        balance, case.forcing, found.fluxes, case.constants, case.state, found.state
    )
    assert found.added.abs().max() > 0.1
    assert torch.allclose(residual, -found.added, rtol=0, atol=1e-9)


def test_rows_never_mix(case, options):
    observed = case.of_truth()
    together = case.analyse(observed, options)
    for row in range(ROWS):
        alone = analyse(
            case.model,
            {n: v[:, row : row + 1] for n, v in case.forcing.items()},
            {n: v[row : row + 1] for n, v in case.constants.items()},
            {n: v[row : row + 1] for n, v in case.state.items()},
            observed[:, row : row + 1],
            case.typical[row : row + 1],
            options,
        )
        for name, value in alone.state.items():
            assert torch.allclose(together.state[name][row], value[0], rtol=1e-9, atol=1e-9), name


def test_blocks_of_rows_give_what_all_give_at_once(case, monkeypatch, options):
    observed = case.of_truth()
    together = case.analyse(observed, options)
    monkeypatch.setattr("dmg_bmi.assimilation.analysis.BATCH", 20)
    apart = case.analyse(observed, options)
    for one, other in (
        (together.state, apart.state),
        (together.fluxes, apart.fluxes),
        (together.factors, apart.factors),
    ):
        assert one.keys() == other.keys()
        assert all(torch.allclose(one[n], other[n], rtol=1e-9, atol=1e-9) for n in one)
    assert torch.equal(together.used, apart.used)


@pytest.mark.parametrize("kind", MODELS)
def test_a_member_that_differs_from_a_step_on_is_that_of_a_run_of_the_whole_window(kind, monkeypatch):
    case = Case(MODELS[kind]().double())  # a network's products in float32 differ with the number of rows
    observed = 1.5 * case.plain["Q"] + 0.1
    late = case.analyse(observed)
    begins = Controls.__init__

    def whole(self, *given):
        begins(self, *given)
        self.begins = torch.zeros_like(self.begins)

    monkeypatch.setattr(Controls, "__init__", whole)
    for name, value in case.analyse(observed).factors.items():
        assert torch.allclose(late.factors[name], value, rtol=1e-9, atol=1e-12), name


@pytest.mark.parametrize("kind", ["corrected input", "corrected output"])
def test_a_network_that_sees_weather_runs_through_the_window_once(kind, options):
    case = Case(MODELS[kind]())
    network = case.model.networks["gauge" if "input" in kind else "flow"]
    seen = []
    network.register_forward_hook(lambda network, given, output: seen.append(given[0].shape[:2]))
    case.analyse(1.5 * case.plain["Q"] + 0.1, options)
    assert seen == [(WINDOW, ROWS)]


def test_gaps_are_ignored_and_counted(case, options):
    observed = case.of_truth()
    observed[3:7, 0] = float("nan")
    assert case.analyse(observed, options).used.tolist() == [WINDOW - 4, WINDOW, WINDOW, WINDOW]


@pytest.mark.parametrize("value", [-0.1, float("inf"), 1e5, -float("inf")])
def test_flow_that_no_river_has_is_refused_by_row_and_step(case, value, options):
    observed = case.of_truth()
    observed[4, 2] = value
    with pytest.raises(ForcingError, match="row 2 in step 4"):
        case.analyse(observed, options)


def test_the_gradient_of_the_flow_by_rain_and_stores_is_that_of_differences(case):
    names = ("phy.SM", "phy.SLZ", "phy.SUZ")
    rain = case.forcing["P"].clone().requires_grad_()
    stores = [case.state[n].clone().requires_grad_() for n in names]

    def flow(rain, *stores):
        state = case.state | dict(zip(names, stores, strict=True))
        return case.model.run({**case.forcing, "P": rain}, case.constants, state, ("Q",))[0]["Q"].sum(1)

    assert torch.autograd.gradcheck(flow, (rain, *stores), eps=1e-6, atol=1e-5, rtol=1e-4, fast_mode=True)


@pytest.mark.parametrize(
    "keys",
    [
        {"window": 0},
        {"ages": (3, 1)},
        {"ages": (40,)},
        {"ages": (0, 2)},
        {"state_spread": -1.0},
        {"relative_error": 0.0},
        {"forcing": {"P": 0.0}},
        {"states": {"SM": float("nan")}},
        {"iterations": 0},
        {"members": 1},
        {"members": 10**9},
        {"seed": -1},
        {"method": "optimal"},
    ],
)
def test_options_out_of_range_are_refused_by_name(keys):
    with pytest.raises(ConfigError, match=next(iter(keys))):
        Assimilation(**keys)


def test_a_store_that_the_model_lacks_is_refused_with_those_it_has(case):
    with pytest.raises(ConfigError, match="no store SWE; the model has SNOWPACK"):
        case.analyse(case.of_truth(), Assimilation(window=WINDOW, ages=(1,), states={"SWE": 0.3}))


def test_a_network_alone_is_refused_in_words():
    model = DeltaModel.build(
        nn={"name": "lstm", "hidden_size": 4},
        roles=[{"role": "output", "inputs": ["P"], "outputs": ["Q"]}],
    ).eval()
    with pytest.raises(ConfigError, match="no process model whose water could be adjusted"):
        analyse(model, {"P": torch.ones(5, 1)}, {}, {}, torch.ones(5, 1), torch.ones(1))
