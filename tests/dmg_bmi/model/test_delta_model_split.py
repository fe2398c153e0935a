"""One forward, single steps, chunks, other rows, a save in the middle: the same answer (contract 3)."""

from copy import deepcopy

import pytest
import torch
from dmg_bmi.physics import HBV, Catchment
from hypothesis import given
from hypothesis import strategies as st

from dmg_bmi import DeltaModel, ParameterRole, physics
from dmg_bmi.model.registry import NETWORKS, build_network

seeds = st.integers(0, 2**32 - 1)
FORCINGS = ("P", "T", "PET", "radiation")
#: A range of temperatures that encloses every threshold between snow and rain, that of HBV 2.0 too.
ANY_THRESHOLD = (-2.501, 4.001)
LSTM = {"name": "lstm", "hidden_size": 6}
MLP = {"name": "mlp", "hidden_sizes": [5]}

#: Of weights, of physics, and the tolerance that applies. A matrix product in float32 gives other
#: last digits for another number of rows or steps. Under physics in float64, the precision of the
#: BMI, the parameters therefore differ by some 1e-7 of their range and the results are those of
#: float32: over five years what leaves (Q, ET) was measured up to 0.5 of the float32 tolerance, and
#: 1e4 times outside that of float64.
PRECISIONS = pytest.mark.parametrize(
    ("weights", "dtype", "tolerance"),
    [
        (torch.float64, torch.float64, torch.float64),
        (torch.float32, torch.float32, torch.float32),
        (torch.float32, torch.float64, torch.float32),
    ],
    ids=["float64", "float32", "float32 networks, float64 physics"],
)


class Case:
    """A model with its input, and the comparisons."""

    def __init__(self, model, forcing, attributes, dtype, tolerance, splitting):
        self.model, self.splitting, self.dtype, self.tolerance = model, splitting, dtype, tolerance
        self.forcing = {name: value.to(dtype) for name, value in forcing.items()}
        self.attributes = {name: value.to(dtype) for name, value in attributes.items()}
        self.rows = next(iter(forcing.values())).shape[1]
        declared = model.declaration
        leaving = {name for balance in declared.balances for name in balance.out}
        self.stores = {s.name for s in declared.states}
        # What passes between stores (recharge, Q0) is a difference of levels near 1000 mm, whose float32
        # spacing is 6e-5 mm. It is known as well as they are: measured up to 1.2e-4 mm, which is 13 times
        # the tolerance of fluxes. In float64 both tolerances are one.
        self.levels = {f.name for f in declared.fluxes} - leaving
        with torch.no_grad():
            self.whole, self.end = model(self.forcing, self.attributes)

    def of(self, rows):
        """A function that goes on with some of the rows, and their state before the first step."""
        with torch.no_grad():
            attributes = {name: value[rows] for name, value in self.attributes.items()}
            constants = self.model.precompute(attributes, len(rows), self.dtype)

        def go_on(forcing, state):
            with torch.no_grad():
                return self.model.run(forcing, constants, state)

        return go_on, self.model.init_state(len(rows), dtype=self.dtype)

    def holds(self, cuts, rows=None):
        """Cut in pieces, and with some rows only, it comes to the same."""
        rows = list(range(self.rows)) if rows is None else rows
        go_on, state = self.of(rows)
        forcing = {name: value[:, rows] for name, value in self.forcing.items()}
        fluxes, end = self.splitting.in_pieces(go_on, forcing, state, cuts)
        expected = {name: value[:, rows] for name, value in self.whole.items()}
        self.splitting.assert_agree(fluxes, expected, self.tolerance, self.levels)
        self.splitting.assert_agree(
            end, {n: v[rows] for n, v in self.end.items()}, self.tolerance, self.stores
        )

    def closes(self):
        """Nothing is lost."""
        before, constants = self.model.init_state(self.rows, dtype=self.dtype), {}
        for balance in self.model.declaration.balances:
            lost = self.model.residual(balance, self.forcing, self.whole, constants, before, self.end)
            supply = physics.mass_in(balance, self.forcing, self.whole).sum(0)
            assert (lost.abs() <= 1e-9 * (supply + 1.0)).all()


@pytest.fixture(scope="module")
def case(hybrids, splitting):
    """Make a :class:`Case`."""

    def make(model, time, rows, seed, gap, dtype=torch.float64, tolerance=torch.float64):
        forcing, attributes = hybrids.everything(model, time, rows, seed, gap=gap)
        return Case(model, forcing, attributes, dtype, tolerance, splitting)

    return make


@st.composite
def hbv_hybrids(draw):
    """Random HBV hybrids: components, routing, networks, dynamic set and length of the freeze."""
    phy = Catchment(
        HBV(betaet=draw(st.booleans())), draw(st.integers(1, 3)), draw(st.sampled_from([None, 1, 9]))
    )
    names = [p.name for p in phy.declaration.parameters]
    dynamic = tuple(draw(st.lists(st.sampled_from(names), unique=True)))
    freeze_after = draw(st.integers(1, 70))
    known = {"TT": 0.0} if draw(st.booleans()) and "TT" not in dynamic else {}
    if dynamic and draw(st.booleans()):
        networks = {"lstm": LSTM, "mlp": MLP}
        roles = (
            ParameterRole(FORCINGS, ("slope",), dynamic, static=(), network="lstm"),
            ParameterRole(attributes=("slope", "clay"), network="mlp"),
        )
        if set(dynamic) == set(names) - set(known):
            networks, roles = {"lstm": LSTM}, roles[:1]
    else:
        networks = {"nn": draw(st.sampled_from([LSTM, MLP]))}
        roles = (ParameterRole(FORCINGS, ("slope", "clay"), dynamic, freeze_after=freeze_after),)
    return {"phy": phy, "networks": networks, "roles": roles, "fixed": known, "seed": draw(seeds)}


@PRECISIONS
@given(
    parts=hbv_hybrids(),
    seed=seeds,
    n=st.integers(1, 4),
    cuts=st.sets(st.integers(1, 59)),
    data=st.data(),
)
def test_splitting_never_changes_the_answer(
    hybrids, case, weights, dtype, tolerance, parts, seed, n, cuts, data
):
    model = hybrids.hybrid(
        parts["phy"],
        parts["networks"],
        *parts["roles"],
        fixed=parts["fixed"],
        weights=weights,
        seed=parts["seed"],
    )
    one = case(model, 60, n, seed, ANY_THRESHOLD, dtype, tolerance)
    one.holds(range(60))
    one.holds(cuts)
    rows = data.draw(st.permutations(range(n)))[: data.draw(st.integers(1, n))]
    one.holds(cuts, rows)


@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_every_process_model_steps_and_closes_with_every_network(hybrids, case, process_model, network):
    """Recurrent networks give dynamic and frozen parameters, others constant ones."""
    declared = process_model.declaration
    if build_network({"name": network}, 1, 1).recurrent:
        seen = (*(f.name for f in declared.forcings), "radiation")
        every_other = tuple(p.name for p in declared.parameters[::2])
        role = ParameterRole(seen, ("slope",), every_other, freeze_after=12)
    else:
        role = ParameterRole((), ("slope", "clay"))
    model = hybrids.hybrid(process_model, {"nn": {"name": network}}, role, seed=3)
    one = case(model, 30, 3, 4, ANY_THRESHOLD)
    one.closes()
    one.holds(range(30))
    one.holds({7, 8, 20}, [2, 0])


KINDS = {
    "lstm": ({"nn": LSTM}, ParameterRole(FORCINGS, ("slope", "clay"), ("BETA", "K0"))),
    "lstm and mlp": (
        {"lstm": LSTM, "mlp": MLP},
        ParameterRole(FORCINGS, ("slope",), ("BETA", "FC", "K1", "route_b"), (), network="lstm"),
        ParameterRole((), ("slope", "clay"), network="mlp"),
    ),
}


LENGTHS = [
    pytest.param(kind, days, marks=[pytest.mark.slow] if days > 400 else [])
    for kind in ("lstm", "lstm and mlp")
    for days in (400, 1826)
]


@PRECISIONS
@pytest.mark.parametrize(("kind", "days"), LENGTHS)
def test_years_of_single_steps_are_one_forward(hybrids, case, weights, dtype, tolerance, kind, days):
    """HBV of four components with routing; the threshold is known and no temperature near it.

    A year, and five among the slow tests.
    """
    networks, *roles = KINDS[kind]
    model = hybrids.hybrid(
        Catchment(HBV(), 4, 15), networks, *roles, fixed={"TT": 0.0}, weights=weights, seed=1
    )
    one = case(model, days, 3, 2, (-1e-3, 1e-3), dtype, tolerance)
    if dtype == torch.float64:
        one.closes()
    one.holds(range(days))
    one.holds({100, 101, 366, days - 326}, [2, 0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", [10, 365, 390])
def test_going_on_from_a_saved_state_is_bitwise_the_same(hybrids, case, kind, cut):
    networks, *roles = KINDS[kind]
    model = hybrids.hybrid(Catchment(HBV(), 2, 9), networks, *roles, weights=torch.float32)
    one = case(model, 400, 3, 5, None)
    go_on, state = one.of(range(3))
    _, state = go_on({name: value[:cut] for name, value in one.forcing.items()}, state)
    saved = deepcopy(state)
    rest = {name: value[cut:] for name, value in one.forcing.items()}
    fluxes, end = go_on(rest, state)
    with torch.no_grad():
        restored = deepcopy(model)
        again, last = restored.run(rest, restored.precompute(one.attributes, 3), saved)
    assert all(torch.equal(fluxes[name], again[name]) for name in fluxes)
    assert all(torch.equal(end[name], last[name]) for name in end)


def test_rows_of_different_age_step_together(hybrids, case):
    """A row whose static parameters are frozen beside one whose are not."""
    role = ParameterRole(FORCINGS, ("slope",), ("BETA",), freeze_after=20)
    model = hybrids.hybrid(Catchment(HBV(), 2, 9), {"nn": LSTM}, role)
    one = case(model, 60, 2, 5, ANY_THRESHOLD)
    _, new = one.of([1])
    go_on, old = one.of([0])
    _, old = go_on({name: value[:30, :1] for name, value in one.forcing.items()}, old)
    both = {name: torch.cat([old[name], new[name]]) for name in old}
    later = {name: torch.cat([v[30:, :1], v[:30, 1:]], dim=1) for name, v in one.forcing.items()}
    fluxes, _ = one.of([0, 1])[0](later, both)
    expected = {name: torch.cat([v[30:, :1], v[:30, 1:]], dim=1) for name, v in one.whole.items()}
    one.splitting.assert_agree(fluxes, expected, torch.float64)


def test_two_process_models_step_in_one_model_as_each_alone(hybrids, case):
    role = ParameterRole(("P", "T"), ("slope",), ("BETA",), freeze_after=20)
    a, b = (hybrids.hybrid(Catchment(HBV(), nmul, 9), {"nn": LSTM}, role, seed=nmul) for nmul in (1, 2))
    both = DeltaModel(
        {"one": a.nn["nn"], "two": b.nn["nn"]},
        {"wet": a.phy_model, "dry": b.phy_model},
        [
            ParameterRole(("P", "T"), ("slope",), ("BETA",), freeze_after=20, network=network, model=phy)
            for network, phy in (("one", "wet"), ("two", "dry"))
        ],
        statistics=a.statistics,
    )
    one = case(both, 60, 3, 5, ANY_THRESHOLD)
    one.holds({20, 21, 40})
    with torch.no_grad():
        for name, alone in (("wet", a), ("dry", b)):
            fluxes, _ = alone(one.forcing, one.attributes)
            for flux, value in fluxes.items():
                assert torch.equal(one.whole[f"{name}.{flux}"], value)
