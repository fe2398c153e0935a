"""What networks do in a model, role by role: each steps, closes, learns, and comes back from a file."""

import pytest
import torch
from dmg_bmi.physics import HBV, Catchment, mass_in

from dmg_bmi import Bundle, DeltaModel, FeatureStatistics, ParameterRole
from dmg_bmi.errors import ConfigError
from dmg_bmi.model.registry import PROCESS_MODELS, build_network, build_process_model
from dmg_bmi.model.roles import (
    KINDS,
    CorrectInputRole,
    CorrectOutputRole,
    MixInputRole,
    MixOutputRole,
    OutputRole,
    ProcessRole,
    WeightRole,
)
from dmg_bmi.model.roles.base import ForwardContext
from dmg_bmi.model.variables import variable_table

LSTM = {"name": "lstm", "hidden_size": 5}
MLP = {"name": "mlp", "hidden_sizes": [6]}
STATISTICS = {
    "P": FeatureStatistics(-0.3, 0.3, "log_sqrt", "mm"),
    "T": FeatureStatistics(4.0, 9.0, units="degC"),
    "PET": FeatureStatistics(2.0, 2.0, units="mm"),
    "Q": FeatureStatistics(0.2, 0.4, "log_sqrt", "mm"),
    **{
        store: FeatureStatistics(100.0, 100.0, units="mm")
        for store in ("SM", "SUZ", "SLZ", "S", "SMS", "water")
    },
}
PARAMETERS = {"network": "given", "attributes": ["slope"]}


def catchment(name, nmul=2):
    routed = any(f.name == "Q" for f in build_process_model({"name": name}).declaration.fluxes)
    return {"name": name, "nmul": nmul, **({"routing": 5} if routed else {})}


def build(roles, models, networks=None, seed=0):
    """A model in float64, its weights spread so that rows and steps differ."""
    keys = [role["network"] for role in roles]
    torch.manual_seed(seed)
    model = DeltaModel.build(
        nn={key: (networks or {}).get(key, MLP) for key in keys},
        phy_model=models,
        roles=roles,
        statistics=STATISTICS,
    )
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2.0)
    return model.double().eval()


def cases():
    """Every role in every process model where it applies, by name: roles, models, networks."""
    found = {}
    for name in PROCESS_MODELS:
        declared = build_process_model({"name": name}).declaration
        models = {"phy": catchment(name)}
        seen = [f.name for f in declared.forcings]
        for process in declared.processes:
            for network in (LSTM, MLP):
                role = {"role": "process", "process": process, "network": "inside", "attributes": ["slope"]}
                found[f"{name}-{process}-{network['name']}"] = (
                    [PARAMETERS, role],
                    models,
                    {"inside": network},
                )
        corrected = {n: [0.6, 1.5] for n in seen}
        added = {"role": "correct_input", "how": "add", "corrects": {seen[0]: [-2.0, 3.0]}, "network": "in"}
        found[f"{name}-correct-input"] = (
            [PARAMETERS, {"role": "correct_input", "corrects": corrected, "inputs": seen, "network": "in"}],
            models,
            {"in": LSTM},
        )
        mixes = {seen[0]: [f"{seen[0]}_next"], seen[-1]: [f"{seen[-1]}_a", f"{seen[-1]}_b"]}
        mixed = {"role": "mix_input", "mixes": mixes, "inputs": seen, "network": "in"}
        found[f"{name}-mix-input"] = ([PARAMETERS, mixed], models, {"in": LSTM})
        found[f"{name}-add-input"] = ([PARAMETERS, {**added, "attributes": ["slope"]}], models, {})
        taken = {n for b in declared.balances for n in b.exchange}
        fluxes = {f.name: [0.5, 2.0] for f in declared.fluxes if f.name not in taken}
        found[f"{name}-correct-output"] = (
            [PARAMETERS, {"role": "correct_output", "corrects": fluxes, "inputs": seen, "network": "out"}],
            models,
            {"out": LSTM},
        )
        mixed = {"role": "mix_output", "outputs": [*fluxes], "inputs": seen, "network": "out", "share": 0.3}
        found[f"{name}-mix-output"] = ([PARAMETERS, mixed], models, {"out": LSTM})
    return found | ensembles() | {"network-alone": ([ALONE], None, {"nn": LSTM})}


ALONE = {
    "role": "output",
    "inputs": ["P", "T"],
    "attributes": ["slope"],
    "outputs": ["Q", "NEE"],
    "network": "nn",
}


def ensembles():
    declared = {name: build_process_model({"name": name}).declaration for name in PROCESS_MODELS}
    names = [n for n, d in declared.items() if any({"Q", "ET"} <= {*b.out} for b in d.balances)]
    models = {name: catchment(name) for name in names}
    each = [{"network": f"of_{n}", "attributes": ["slope", "clay"], "model": n} for n in names]
    static = {"role": "weights", "attributes": ["clay"], "network": "w"}
    corrected = {
        "role": "correct_input",
        "corrects": {"P": [0.5, 1.5]},
        "attributes": ["clay"],
        "network": "c",
        "model": names[0],
    }
    mixed = {
        "role": "mix_output",
        "outputs": ["Q"],
        "inputs": ["P", "T"],
        "attributes": ["clay"],
        "share": 0.2,
    }
    return {
        "ensemble-static": ([*each, static], models, {}),
        "ensemble-corrected": ([*each, corrected, static], models, {}),
        "ensemble-mixed": (
            [*each, static, {**mixed, "network": "one"}, {**mixed, "network": "other", "inputs": ["T"]}],
            models,
            {"one": LSTM},
        ),
        "ensemble-dynamic": ([*each, {**static, "inputs": ["P", "T"]}], models, {"w": LSTM}),
        "models-side-by-side": (each, models, {}),
    }


CASES = cases()


@pytest.fixture(scope="module", params=CASES)
def model(request):
    """Each role in each process model; whoever gives it gradients takes them away."""
    return build(*CASES[request.param])


@pytest.fixture
def data(hybrids):
    """Random legal input of a model."""

    def make(model, time=60, rows=3, seed=1):
        forcing, attributes = hybrids.everything(model, time, rows, seed, gap=(-4.5, 4.5))
        return {n: v.abs() if n == "P" else v for n, v in forcing.items()}, attributes

    return make


def test_every_role_has_a_case():
    used = {role.get("role", "parameters") for roles, _, _ in CASES.values() for role in roles}
    assert used == {*KINDS}


@torch.no_grad()
def test_splitting_never_changes_the_answer(model, data, splitting):
    forcing, attributes = data(model, time=30)
    whole, end = model(forcing, attributes)
    constants = model.precompute(attributes, 3)
    for cuts in (range(30), (7, 8, 20)):
        pieces, last = splitting.in_pieces(
            lambda f, s: model.run(f, constants, s), forcing, model.init_state(3), cuts
        )
        splitting.assert_agree(pieces, whole, torch.float64)
        splitting.assert_agree(last, end, torch.float64)
    rows = [2, 0]
    part, _ = model({n: v[:, rows] for n, v in forcing.items()}, {n: v[rows] for n, v in attributes.items()})
    splitting.assert_agree(part, {n: v[:, rows] for n, v in whole.items()}, torch.float64)


@torch.no_grad()
def test_what_is_declared_closes(model, data):
    forcing, attributes = data(model)
    constants, before = model.precompute(attributes, 3), model.init_state(3)
    fluxes, after = model.run(forcing, constants, before)
    assert {*fluxes} == {f.name for f in model.declaration.fluxes}
    for balance in model.declaration.balances:
        supply = mass_in(balance, forcing, fluxes).abs().sum(0)
        lost = model.residual(balance, forcing, fluxes, constants, before, after)
        assert (lost.abs() <= 1e-9 * (supply + 1.0)).all()
    conserving = any(m.declaration.balances for m in model.process_models.values())
    assert bool(model.declaration.balances) == conserving


def test_every_weight_learns(model, data):
    forcing, attributes = data(model, time=40)
    fluxes, _ = model(forcing, attributes)
    sum(series.square().mean() for series in fluxes.values()).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
    moved = {n.split(".")[1] for n, w in model.named_parameters() if w.grad.abs().sum() > 0}
    model.zero_grad()
    assert moved == {*model.networks}


@torch.no_grad()
def test_a_bundle_gives_the_same_model_again(model, data, tmp_path):
    forcing, attributes = data(model, time=10)
    expected, _ = model(forcing, attributes)
    Bundle(model, "case").save(tmp_path)
    again = Bundle.load(tmp_path)
    assert again.model.describe() == model.describe()
    actual, _ = again.model(forcing, attributes)
    assert all(torch.equal(actual[name], expected[name]) for name in expected)


def test_names_in_the_table_are_unique_and_every_output_is_there(model):
    table = variable_table(model)
    assert len({v.name for v in table}) == len(table)
    published = [v.symbol for v in table if v.kind == "output" and not v.of]
    assert published == [flux.name for flux in model.declaration.fluxes]


@torch.no_grad()
def test_an_output_can_be_asked_for_alone(model, data):
    forcing, attributes = data(model, time=8)
    everything, _ = model(forcing, attributes)
    for name, series in everything.items():
        alone, _ = model(forcing, attributes, outputs=(name,))
        assert {*alone} == {name}
        assert torch.equal(alone[name], series)


# -- role by role -----------------------------------------------------------------


@torch.no_grad()
def test_a_process_network_sees_what_the_model_shows_and_its_state_lies_per_component(data):
    role = {"role": "process", "process": "ET", "network": "inside", "inputs": ["T", "SM"]}
    model = build([PARAMETERS, role], {"phy": catchment("hbv", 3)}, {"inside": LSTM})
    assert model.networks["inside"].n_inputs == 2
    assert model.init_state(4)["phy.ET.h"].shape == (4, 3, 5)
    forcing, attributes = data(model)
    _, end = model(forcing, attributes)
    assert not torch.equal(end["phy.ET.h"][:, 0], end["phy.ET.h"][:, 1])


@torch.no_grad()
def test_a_process_network_is_the_process(data):
    """Evaporation from a network of constant output, limited by what the soil holds."""
    role = ProcessRole(process="ET", inputs=("PET",), network="inside")
    known = {p.name: (p.lower + p.upper) / 2 for p in HBV().declaration.parameters}
    inside = build_network({"name": "mlp", "hidden_sizes": []}, 1, 1).double()
    for weight in inside.parameters():
        weight.zero_()
    model = DeltaModel({"inside": inside}, HBV(), role, known)
    forcing, _ = data(model)
    fluxes, _ = model(forcing)
    dry = fluxes["soil_moisture"] <= 1e-12
    demand = torch.full_like(fluxes["ET"], 2.0).log()
    torch.testing.assert_close(fluxes["ET"][~dry], demand[~dry], rtol=1e-6, atol=0)
    assert (fluxes["ET"] <= demand + 1e-12).all()


@torch.no_grad()
def test_a_neutral_correction_changes_nothing_and_a_correction_is_what_it_adds(data):
    corrects = {"P": (0.5, 1.5), "PET": (0.5, 1.5)}
    phy, known = HBV(), {p.name: (p.lower + p.upper) / 2 for p in HBV().declaration.parameters}
    plain = DeltaModel(None, phy, (), known)
    forcing, _ = data(plain)
    expected, _ = plain(forcing)
    for role, size in (
        (CorrectInputRole(("T",), network="c", corrects=corrects), 2),
        (CorrectOutputRole(("T",), network="c", corrects={"Q": (0.5, 1.5)}), 1),
    ):
        network = build_network({"name": "mlp", "hidden_sizes": []}, 1, size).double()
        for weight in network.parameters():
            weight.zero_()
        fluxes, _ = DeltaModel({"c": network}, phy, role, known)(forcing)
        for name, series in expected.items():
            torch.testing.assert_close(fluxes[name], series, rtol=1e-12, atol=1e-12)
        # A sigmoid of ln 3 is 0.75, so the factor is 1.25.
        list(network.parameters())[-1].fill_(torch.tensor(3.0).double().log())
        fluxes, _ = DeltaModel({"c": network}, phy, role, known)(forcing)
        if role.kind == "correct_input":
            wetter, _ = plain({**forcing, "P": 1.25 * forcing["P"], "PET": 1.25 * forcing["PET"]})
            torch.testing.assert_close(fluxes["P_correction"], 0.25 * forcing["P"])
            torch.testing.assert_close(fluxes["Q"], wetter["Q"])
        else:
            torch.testing.assert_close(fluxes["Q_correction"], 0.25 * expected["Q"])
            torch.testing.assert_close(fluxes["Q"], 1.25 * expected["Q"])


@torch.no_grad()
def test_mixing_is_the_weighted_mean_of_the_sources(data):
    phy, known = HBV(), {p.name: (p.lower + p.upper) / 2 for p in HBV().declaration.parameters}
    plain = DeltaModel(None, phy, (), known)
    role = MixInputRole(("T",), network="m", mixes={"P": ("P_next", "P_radar")})
    network = build_network({"name": "mlp", "hidden_sizes": []}, 1, 3).double()
    for weight in network.parameters():
        weight.zero_()
    # A softmax of 0, ln 2 and ln 5 is 1/8, 2/8 and 5/8.
    list(network.parameters())[-1].copy_(torch.tensor([1.0, 2.0, 5.0]).double().log())
    model = DeltaModel({"m": network}, phy, role, known)
    forcing, _ = data(model)
    forcing = {name: v.abs() if name.startswith("P_") else v for name, v in forcing.items()}
    fluxes, _ = model(forcing)
    rain = (forcing["P"] + 2 * forcing["P_next"] + 5 * forcing["P_radar"]) / 8
    expected, _ = plain({**{name: forcing[name] for name in ("T", "PET")}, "P": rain})
    torch.testing.assert_close(fluxes["Q"], expected["Q"])
    torch.testing.assert_close(fluxes["P_mixing"], rain - forcing["P"])
    declared = {f.name: f for f in model.declaration.forcings}
    assert declared["P_radar"].units == "mm"
    assert declared["P_radar"].lower == 0.0
    assert declared["P_radar"].aggregation == "sum"


@torch.no_grad()
@pytest.mark.parametrize("names", [("hbv",), ("hbv", "gr4j")])
def test_a_mixed_output_is_the_weighted_mean_of_equations_and_networks(data, names):
    models = {name: build_process_model(catchment(name)) for name in names}
    parameters = [p for m in models.values() for p in m.declaration.parameters]
    known = {p.name: (p.lower + p.upper) / 2 for p in parameters}
    weigh = [WeightRole((), ("slope",), network="w")] if len(names) > 1 else []
    networks = {
        "w": build_network({"name": "mlp", "hidden_sizes": []}, 1, len(names)),
        "a": build_network(LSTM, 2, 1),
        "b": build_network(MLP, 2, 1),
    }
    networks = {key: n.double() for key, n in networks.items() if key != "w" or weigh}
    share = {"a": 0.2, "b": 0.3}
    mixed = [MixOutputRole(("P", "T"), outputs=("Q",), network=key, share=s) for key, s in share.items()]
    alone = [OutputRole(("P", "T"), outputs=("Q",), network=key) for key in share]
    equations = {key: networks[key] for key in networks if key not in share}
    model = DeltaModel(networks, models, (*weigh, *mixed), known, STATISTICS)
    forcing, attributes = data(model)
    fluxes, _ = model(forcing, attributes)
    own, _ = DeltaModel(equations, models, weigh, known, STATISTICS)(forcing, attributes)
    given = {
        role.network: DeltaModel({role.network: networks[role.network]}, None, role, statistics=STATISTICS)
        for role in alone
    }
    given = {key: one(forcing, attributes)[0]["Q"] for key, one in given.items()}
    torch.testing.assert_close(fluxes["Q"], 0.5 * own["Q"] + 0.2 * given["a"] + 0.3 * given["b"])
    torch.testing.assert_close(fluxes["Q_mixing"], fluxes["Q"] - own["Q"])
    assert fluxes["Q_mixing"].abs().max() > 0.01
    for key, series in given.items():
        torch.testing.assert_close(fluxes[f"{key}.Q"], series)


@torch.no_grad()
def test_a_network_is_mixed_in_where_flow_is_high_if_so_said(data):
    known = {p.name: (p.lower + p.upper) / 2 for p in HBV().declaration.parameters}
    network = build_network(LSTM, 2, 1).double()
    flow = {}
    for half_at in (0.0, 0.7):
        role = MixOutputRole(("P", "T"), outputs=("Q",), network="a", share=0.4, half_at=half_at)
        model = DeltaModel({"a": network}, HBV(), role, known, STATISTICS)
        fluxes, _ = model(*data(model, time=200))
        flow[half_at] = fluxes
    own = flow[0.0]["Q"] - flow[0.0]["Q_mixing"]
    torch.testing.assert_close(flow[0.7]["Q"] - flow[0.7]["Q_mixing"], own)
    assert (own < 0.1).any()
    assert (own > 3.0).any()
    share = own / (own + 0.7)
    torch.testing.assert_close(flow[0.7]["Q_mixing"], share * flow[0.0]["Q_mixing"])
    (said,) = model._bindings[0].explain_outputs()
    assert said.endswith("with the weight 0.4 * q / (q + 0.7) with q of the equations")


@pytest.mark.parametrize("mixes", [{}, {"P": []}, {"P": "P_next"}, {"P": 3}, ["P"], {"rain": ["P_next"]}])
def test_a_mixture_without_sources_is_refused(mixes):
    role = {"role": "mix_input", "mixes": mixes, "inputs": ["P"], "network": "m"}
    with pytest.raises(ConfigError, match=r"mixes|has no forcing 'rain'"):
        build([PARAMETERS, role], {"phy": catchment("hbv")})


@torch.no_grad()
def test_an_added_correction_never_makes_a_forcing_illegal(data):
    role = {
        "role": "correct_input",
        "how": "add",
        "corrects": {"P": [-50, -40]},
        "network": "c",
        "inputs": ["T"],
    }
    model = build([PARAMETERS, role], {"phy": catchment("hbv")})
    forcing, attributes = data(model)
    fluxes, _ = model(forcing, attributes)
    assert torch.equal(
        fluxes["P_correction"], -forcing["P"].clamp(max=40.0).where(forcing["P"] < 40, forcing["P"])
    )


@torch.no_grad()
def test_the_mean_of_an_ensemble_is_weighted(data):
    for label in ("ensemble-static", "ensemble-dynamic"):
        model = build(*CASES[label])
        forcing, attributes = data(model)
        fluxes, _ = model(forcing, attributes)
        members = [*model.process_models]
        network = model.networks["w"]
        clay = attributes["clay"].unsqueeze(-1)
        if label == "ensemble-static":
            weights = network(clay, {})[0].softmax(-1).expand(60, -1, -1)
        else:
            seen = [(torch.log10(forcing["P"].sqrt() + 0.1) + 0.3) / 0.3, (forcing["T"] - 4.0) / 9.0]
            x = torch.cat([torch.stack(seen, -1), clay.expand(60, -1, -1)], -1)
            weights = network(x, network.init_state(3))[0].softmax(-1)
        for name in ("Q", "ET"):
            expected = sum(weights[..., k] * fluxes[f"{key}.{name}"] for k, key in enumerate(members))
            torch.testing.assert_close(fluxes[name], expected, rtol=1e-10, atol=1e-12)


def test_an_ensemble_publishes_its_mean_and_its_exchange(data):
    model = build(*CASES["ensemble-static"])
    table = {v.symbol: v for v in variable_table(model)}
    assert table["Q"].published
    assert not table["hbv.Q"].published
    assert "exchange" in table
    assert not any(v.published and "." in v.symbol for v in table.values())


def test_models_side_by_side_publish_what_is_theirs_alone_under_its_name():
    model = build(*CASES["models-side-by-side"])
    table = {v.symbol: v.name for v in variable_table(model)}
    assert table["hbv.Q"] == "hbv.land_surface_water__runoff_depth"
    both = DeltaModel.build(
        nn={"a": MLP, "b": MLP},
        phy_model={"water": {"name": "hbv"}, "leaf": {"name": "photosynthesis"}},
        roles=[
            {"network": "a", "attributes": ["slope"], "model": "water"},
            {"network": "b", "attributes": ["slope"], "model": "leaf"},
        ],
    )
    assert {v.symbol: v.name for v in variable_table(both)}["water.Q"] == "land_surface_water__runoff_depth"


@torch.no_grad()
def test_a_network_alone_answers_in_the_units_of_its_target(data):
    model = build([ALONE], None, {"nn": LSTM})
    forcing, attributes = data(model)
    fluxes, _ = model(forcing, attributes)
    assert (fluxes["Q"] >= 0).all()
    seen = [(torch.log10(forcing["P"].sqrt() + 0.1) + 0.3) / 0.3, (forcing["T"] - 4.0) / 9.0]
    x = torch.stack([*seen, attributes["slope"].expand(60, -1)], -1)
    raw, _ = model.networks["nn"](x, model.networks["nn"].init_state(3))
    logs = (0.2 + 0.4 * raw[..., 0]).clamp(min=-1.0)
    torch.testing.assert_close(torch.log10(fluxes["Q"].sqrt() + 0.1), logs)
    assert torch.equal(fluxes["NEE"], raw[..., 1].clamp(min=0.0))
    assert {f.name: f.units for f in model.declaration.fluxes} == {"Q": "mm", "NEE": "1"}
    assert model.declaration.balances == ()


def test_dynamic_parameters_drop_out_to_static_in_training_only(hybrids):
    names = ("BETA", "K0")
    chances = {}
    for dropout in (0.0, 0.5, 1.0):
        role = ParameterRole(("P", "T"), (), names, static=None, dropout=dropout)
        model = hybrids.hybrid(Catchment(HBV(), 2), {"nn": LSTM}, role, seed=3)
        forcing, attributes = hybrids.everything(model, 30, 200, 1)
        context = ForwardContext.start(
            model.process_models, forcing, model.precompute(attributes, 200), model.init_state(200)
        )
        binding = model._bindings[0]
        for training in (False, True):
            model.train(training)
            binding.before_physics(model.networks["nn"], context)
            constant = {n: (context.dynamic["phy"][n] == context.dynamic["phy"][n][-1]).all(0) for n in names}
            chances[dropout, training] = torch.stack([c.double().mean() for c in constant.values()])
            for c in constant.values():
                assert torch.equal(c[:, 0], c[:, 1]), "components of a row drop together"
            if training and dropout == 0.5:
                assert not torch.equal(constant["BETA"], constant["K0"])
    assert all((chance == 0).all() for (_, training), chance in chances.items() if not training)
    assert (chances[0.0, True] == 0).all()
    assert (chances[1.0, True] == 1).all()
    assert ((chances[0.5, True] - 0.5).abs() < 0.15).all()


# -- what cannot be ---------------------------------------------------------------

HBV_ROLE = {"network": "given", "attributes": ["slope"]}
MIXED = {"role": "mix_output", "outputs": ["Q"], "inputs": ["P"], "network": "x"}
WRONG = {
    "unknown role 'proces'; available: parameters, process": [{"role": "proces", "network": "x"}],
    "no replaceable process 'melting'; it has 'ET'|no replaceable process 'melting'; it has ET": [
        HBV_ROLE,
        {"role": "process", "process": "melting", "network": "x"},
    ],
    "no ET input 'SLZ'; it has SM, PET, T": [
        HBV_ROLE,
        {"role": "process", "process": "ET", "inputs": ["SLZ"], "network": "x"},
    ],
    "no forcing 'wind'; it has P, T, PET": [
        HBV_ROLE,
        {"role": "correct_input", "corrects": {"wind": [0.5, 2]}, "inputs": ["P"], "network": "x"},
    ],
    "no correctable flux 'P'": [
        HBV_ROLE,
        {"role": "correct_output", "corrects": {"P": [0.5, 2]}, "inputs": ["P"], "network": "x"},
    ],
    "bounds of P are out of order": [
        HBV_ROLE,
        {"role": "correct_input", "corrects": {"P": [2, 0.5]}, "inputs": ["P"], "network": "x"},
    ],
    "bounds of Q are out of order or negative": [
        HBV_ROLE,
        {"role": "correct_output", "corrects": {"Q": [-1, 0.5]}, "inputs": ["P"], "network": "x"},
    ],
    "two bounds": [HBV_ROLE, {"role": "correct_input", "corrects": ["P"], "inputs": ["P"], "network": "x"}],
    "at least two process models": [HBV_ROLE, {"role": "weights", "attributes": ["a"], "network": "x"}],
    "'x'.*requires inputs and outputs": [HBV_ROLE, {"role": "output", "outputs": ["Q"], "network": "x"}],
    "outputs Q appear twice": [
        HBV_ROLE,
        {"role": "output", "inputs": ["P"], "outputs": ["Q"], "network": "x"},
    ],
    "share is 1.0; it must be a number between 0 and 1": [HBV_ROLE, {**MIXED, "share": 1.0}],
    "share is 'half'; it must be a number": [HBV_ROLE, {**MIXED, "share": "half"}],
    "share is 0; the network would take no part": [HBV_ROLE, {**MIXED, "share": 0}],
    "half_at is -1; it must be a number from 0": [HBV_ROLE, {**MIXED, "half_at": -1}],
    "the shares of x, y leave nothing to the process models": [HBV_ROLE, MIXED, {**MIXED, "network": "y"}],
    "hbv has no flux 'NEE'": [HBV_ROLE, {**MIXED, "outputs": ["Q", "NEE"]}],
    "requires inputs or attributes": [{"network": "x"}],
    "parameters has no key 'atributes'; did you mean attributes. available: inputs": [
        {"network": "x", "atributes": ["slope"]}
    ],
    "attributes must be a list": [{"network": "x", "attributes": "slope"}],
    "dropout must be a probability": [{"network": "x", "attributes": ["slope"], "dropout": 2}],
    "attribute 'parameters' already exists": [{"network": "parameters", "attributes": ["slope"]}],
    "names the process model 'water', which does not exist; available: phy": [
        HBV_ROLE,
        {"role": "process", "process": "ET", "network": "x", "model": "water"},
    ],
}


@pytest.mark.parametrize("message", WRONG)
def test_a_role_that_does_not_fit_is_refused_with_the_reason(message):
    roles = WRONG[message]
    with pytest.raises(ConfigError, match=message):
        DeltaModel.build(nn={role["network"]: MLP for role in roles}, phy_model={"name": "hbv"}, roles=roles)


def test_outputs_are_mixed_with_the_mean_of_an_ensemble_that_exists():
    models = {"wet": {"name": "hbv"}, "dry": {"name": "hbv"}}
    roles = [{**HBV_ROLE, "model": "wet"}, {**HBV_ROLE, "model": "dry", "network": "second"}]
    weights = {"role": "weights", "attributes": ["slope"], "network": "w"}
    networks = dict.fromkeys(("given", "second", "x", "w"), MLP)
    with pytest.raises(ConfigError, match="a role weights must stand before it"):
        DeltaModel.build(nn=networks, phy_model=models, roles=[*roles, MIXED, weights])
    with pytest.raises(ConfigError, match="output takes its place"):
        DeltaModel.build(nn=MLP, roles=[{**MIXED, "network": "nn"}])


def test_a_recurrent_network_needs_inputs():
    with pytest.raises(ConfigError, match=r"recurrent.*no inputs"):
        DeltaModel.build(nn=LSTM, phy_model={"name": "hbv"}, roles=[{"attributes": ["slope"]}])


def test_roles_come_in_any_order_and_meet_the_given_forcing(data):
    """A network that supplies parameters sees the forcing as given, whoever corrects it."""
    correct = {"role": "correct_input", "corrects": {"P": [0.5, 1.5]}, "inputs": ["P", "T"], "network": "c"}
    moving = {"network": "given", "inputs": ["P", "T"], "dynamic": ["BETA"], "freeze_after": 20}
    one = build([correct, moving], {"phy": catchment("hbv")}, {"c": LSTM, "given": LSTM})
    other = DeltaModel(
        dict(reversed(one.nn.items())), one.phy_model, one.roles[::-1], statistics=one.statistics
    )
    forcing, attributes = data(one)
    with torch.no_grad():
        a, _ = one(forcing, attributes)
        b, _ = other.eval()(forcing, attributes)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_weights_and_outputs_describe_themselves():
    for role in (
        WeightRole(("P",), ("clay",)),
        OutputRole(("P",), outputs=("Q",)),
        ProcessRole(process="ET"),
        CorrectInputRole(("P",), corrects={"P": (0.5, 2)}),
        CorrectOutputRole(("P",), corrects={"Q": (0.5, 2)}),
    ):
        plain = role.describe()
        assert KINDS[plain.pop("role")](**plain) == role


def of_networks(*roles, statistics=STATISTICS):
    """A model of networks alone, a role each."""
    networks = {role.network: build_network(MLP, len(role.inputs), len(role.outputs)) for role in roles}
    for seed, network in enumerate(networks.values()):
        torch.manual_seed(seed)
        for weight in network.parameters():
            torch.nn.init.normal_(weight, std=0.7)
    return DeltaModel(networks, None, roles, statistics=statistics).double().eval()


@torch.no_grad()
def test_what_several_networks_give_under_one_name_is_their_mean():
    roles = [OutputRole(("P", "T"), outputs=("Q",), network=key, nonnegative=key == "b") for key in "abc"]
    forcing = {"P": 8 * torch.rand(30, 4).double(), "T": 20 * torch.rand(30, 4).double()}
    model = of_networks(*roles)
    together, _ = model(forcing)
    one_by_one = [DeltaModel({r.network: model.nn[r.network]}, None, r, statistics=STATISTICS) for r in roles]
    expected = torch.stack([one(forcing)[0]["Q"] for one in one_by_one]).mean(0)
    torch.testing.assert_close(together["Q"], expected, rtol=1e-12, atol=1e-12)
    assert [v.symbol for v in variable_table(model) if v.kind == "output"] == ["Q", "Q_flow"]


@torch.no_grad()
def test_statistics_of_a_role_take_precedence_for_its_network_alone():
    own = {"T": FeatureStatistics(100.0, 3.0), "Q": FeatureStatistics(7.0, 2.0)}
    roles = [OutputRole(("T",), outputs=("Q",), network="a", statistics=own, nonnegative=False)]
    roles.append(OutputRole(("T",), outputs=("y",), network="b", nonnegative=False))
    model = of_networks(*roles, statistics={"T": FeatureStatistics(1.0, 4.0)})
    x = torch.linspace(90, 110, 12).double().reshape(6, 2)
    fluxes, _ = model({"T": x})
    raw, _ = model.nn["a"](((x - 100) / 3).unsqueeze(-1), {})
    torch.testing.assert_close(fluxes["Q"], raw[..., 0] * 2 + 7)
    raw, _ = model.nn["b"](((x - 1) / 4).unsqueeze(-1), {})
    torch.testing.assert_close(fluxes["y"], raw[..., 0])
    again = DeltaModel.build(**model.describe()).double()
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again({"T": x})[0], fluxes)
    assert "statistics" not in roles[1].describe()


@torch.no_grad()
def test_only_the_outputs_that_are_named_are_raised_to_zero():
    role = OutputRole(("T",), outputs=("a", "b"), network="n", nonnegative=("b",))
    fluxes, _ = of_networks(role)({"T": 30 * torch.randn(200, 3).double()})
    assert (fluxes["a"] < 0).any()
    assert (fluxes["b"] >= 0).all()
    assert (fluxes["b"] == 0).any()
    with pytest.raises(ConfigError, match="nonnegative names c, which is none of its outputs"):
        OutputRole(("T",), outputs=("a", "b"), nonnegative=("c",))


@torch.no_grad()
def test_constants_can_be_traced_for_any_number_of_rows():
    model = DeltaModel.build(
        nn={"name": "mlp", "hidden_sizes": [8]}, phy_model={"name": "hbv"}, roles=[{"attributes": ["soil"]}]
    )

    class Constants(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, soil):
            return self.model.precompute({"soil": soil}, soil.shape[0])

    rows = torch.export.Dim("rows", min=1)
    program = torch.export.export(
        Constants(), (torch.ones(3),), dynamic_shapes={"soil": {0: rows}}, strict=False
    )
    for number in (1, 5, 10_000):
        soil = torch.rand(number)
        torch.testing.assert_close(
            program.module()(soil), model.precompute({"soil": soil}, number), rtol=1e-6, atol=0
        )


def test_constants_of_many_rows_are_those_of_any_part_of_them(monkeypatch):
    from dmg_bmi.model.roles import base

    model = DeltaModel.build(
        nn={"name": "mlp", "hidden_sizes": [8]}, phy_model={"name": "hbv"}, roles=[{"attributes": ["soil"]}]
    )
    attributes = {"soil": torch.rand(10)}
    whole = model.precompute(attributes, 10)
    monkeypatch.setattr(base, "ROWS_AT_ONCE", 4)
    with torch.no_grad():
        parts = model.precompute(attributes, 10)
    assert parts.keys() == whole.keys()
    for name, values in whole.items():
        torch.testing.assert_close(parts[name], values, rtol=1e-6, atol=0)
