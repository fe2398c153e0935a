"""Routing: the reference of t-route, no water lost, steady flow, fronts, gradients, roughness found again."""

import csv

import numpy as np
import pytest
import torch
from dmg_bmi.physics import residual, run
from dmg_bmi.physics.routing.channel import Section
from dmg_bmi.physics.routing.muskingum_cunge import MuskingumCunge
from dmg_bmi.physics.routing.network import River, river_static
from hypothesis import given
from hypothesis import strategies as st

from dmg_bmi.errors import ConfigError
from dmg_bmi.hydrofabric import reader as hydrofabric
from dmg_bmi.model.registry import build_process_model

HOUR = 1 / 24
seeds = st.integers(0, 2**32 - 1)
kernels = pytest.mark.parametrize("kernel", ["conservative", "nwm"])
#: n, nCC, BtmWdth, TopWdth, TopWdthCC, ChSlp, Length_m, So of a middling reach.
COLUMNS = ("n", "nCC", "BtmWdth", "TopWdth", "TopWdthCC", "ChSlp")
MIDDLING = (0.05, 0.1, 8.0, 9.0, 27.0, 0.8)


@pytest.fixture(scope="module")
def juniata(shared_data):
    """The network of the Juniata, 794 reaches; ten that lie flat get the slope that t-route gives them."""
    path = shared_data / "nextgen_juniata" / "jrb_hydrofabric_v2.2.gpkg"
    return hydrofabric.read(path).routable(minimum_slope=1e-5)


def network(downstream, length=4000.0, slope=0.002, lake=None):
    """`parameters` and `static` of middling reaches in a given network."""
    rows = len(downstream)
    parameters = {
        k: torch.full((rows,), v, dtype=torch.float64) for k, v in zip(COLUMNS, MIDDLING, strict=True)
    }
    static = {
        "Length_m": torch.zeros(rows, dtype=torch.float64) + length,
        "So": torch.full((rows,), slope, dtype=torch.float64),
    }
    return parameters, {**static, **river_static(torch.tensor(downstream), lake)}


def route(model, lateral, parameters, static, state=None, dt=HOUR):
    """Run a model on lateral inflow ``[time, rows]``, from dry unless told otherwise."""
    state = model.init_state(lateral.shape[1]) if state is None else state
    return run(model, {"lateral_inflow": lateral}, state, parameters, static, dt)


def settled(lateral, parameters, static):
    """The state in steady flow, after 60 steps of five days: it depends on no step."""
    with torch.no_grad():
        return route(MuskingumCunge(substeps=1), lateral.expand(60, -1), parameters, static, dt=5.0)[1]


def storm(area, hours, depth=12.0, base=0.02):
    """Lateral inflow in m3/s of a storm of some hours with `depth` mm of runoff on `area` km2."""
    t = torch.arange(hours, dtype=torch.float64).unsqueeze(1)
    shape = t**2 * torch.exp(-t / 3)
    return (base + depth * shape / shape.sum()) * torch.as_tensor(area) * 1e3 / 3600


# -- the National Water Model's kernel --------------------------------------------


@pytest.fixture(scope="module")
def one_reach(shared_data):
    folder = shared_data / "routing_one_cat"
    parameters, static = hydrofabric.read(folder / "cat-486888_subset.gpkg").routable().tensors()
    with open(folder / "nex-486889_output.csv") as file:
        lateral = torch.tensor([[float(row[2])] for row in csv.reader(file)][:24], dtype=torch.float64)
    return folder, lateral, parameters, static


@pytest.mark.parametrize(
    ("file", "substeps", "columns"),
    [("test_internal.csv", 1, (1, 2, 3)), ("cat-489888.csv", 12, (1, 2, 3))],
    ids=["5-minute steps", "hourly steps"],
)
def test_the_nwm_kernel_gives_what_t_route_gives(one_reach, file, substeps, columns):
    folder, lateral, parameters, static = one_reach
    expected = np.loadtxt(folder / file, delimiter=",", skiprows=1, usecols=columns)
    model = MuskingumCunge(kernel="nwm", substeps=substeps)
    lateral = lateral.repeat_interleave(12 // substeps, dim=0)
    fluxes, _ = route(model, lateral, parameters, static, dt=HOUR * substeps / 12)
    for name, reference in zip(("discharge", "velocity", "depth"), expected.T, strict=True):
        np.testing.assert_allclose(fluxes[name][:, 0].numpy(), reference, rtol=1e-3, err_msg=name)


def test_the_nwm_kernel_promises_no_balance_and_leaves_some_water_unaccounted_for(one_reach):
    """What the state says is in the reach (area times length) is not what came in less what left."""
    _, lateral, parameters, static = one_reach
    model = MuskingumCunge(kernel="nwm")
    assert model.declaration.balances == ()
    fluxes, state = route(model, lateral, parameters, static)
    held = Section.from_columns(parameters, static).area(state["depth"]) * static["Length_m"]
    torch.testing.assert_close(fluxes["volume"][-1], held, rtol=1e-12, atol=0)
    entered, left = fluxes["lateral"].sum(), fluxes["outflow"].sum()
    assert 0.02 < (entered - left - held).item() / entered.item() < 0.05


def test_reaches_of_the_nwm_kernel_receive_what_those_above_released_before(juniata):
    """The short-time-step assumption."""
    parameters, static = juniata.tensors()
    model = MuskingumCunge(kernel="nwm", substeps=1)
    fluxes, _ = route(model, storm(juniata.area, 6), parameters, static, dt=HOUR / 12)
    river = River.from_static(static, len(juniata), torch.device("cpu"))
    released = torch.stack([river.inflow(q) for q in fluxes["discharge"]])
    torch.testing.assert_close(fluxes["upstream"][1:], released[:-1] * 300.0, rtol=1e-12, atol=1e-9)
    assert (fluxes["upstream"][0] == 0).all()


@given(seed=seeds)
def test_reaches_of_the_nwm_kernel_look_for_their_depths_apart(juniata, splitting, seed):
    """Each needs its own number of iterations; those that are done first wait without changing."""
    g = torch.Generator().manual_seed(seed)
    parameters, static = juniata.tensors()
    rows = torch.randperm(len(juniata), generator=g)[:8]
    parameters = {k: v[rows] for k, v in parameters.items()}
    static = {k: static[k][rows] for k in ("Length_m", "So")}
    lateral = 10 ** (3 * torch.rand(6, 8, generator=g, dtype=torch.float64) - 1)
    model = MuskingumCunge(kernel="nwm", substeps=2)
    whole, end = route(model, lateral, parameters, static)
    for row in range(8):
        one = slice(row, row + 1)
        alone, last = route(
            model,
            lateral[:, one],
            {k: v[one] for k, v in parameters.items()},
            {k: v[one] for k, v in static.items()},
        )
        splitting.assert_agree(alone, {k: v[:, one] for k, v in whole.items()}, torch.float64)
        splitting.assert_agree(last, {k: v[one] for k, v in end.items()}, torch.float64)


# -- volume -----------------------------------------------------------------------


@given(seed=seeds, dt=st.sampled_from([HOUR, 1.0, HOUR / 12]), substeps=st.sampled_from([1, 4, 12]))
def test_volume_closes_in_every_reach_whatever_comes(juniata, seed, dt, substeps):
    """Nothing, drizzle, cloudbursts on single divides: from a dry bed, over any step."""
    g = torch.Generator().manual_seed(seed)
    hours = 12

    def rand():
        return torch.rand(hours, len(juniata), generator=g, dtype=torch.float64)

    lateral = torch.where(rand() < 0.3, 1e3 ** (2 * rand() - 1), 0.0)
    parameters, static = juniata.tensors()
    model = MuskingumCunge(substeps=substeps)
    with torch.no_grad():
        fluxes, end = route(model, lateral, parameters, static, dt=dt)
    assert all((value >= 0).all() for value in fluxes.values())

    assert torch.equal(fluxes["volume"][-1], end["storage"].clamp(min=0.0))
    (balance,) = model.declaration.balances
    start = model.init_state(len(juniata))
    entered = (fluxes["lateral"] + fluxes["upstream"]).sum(0)
    assert (end["storage"] >= -1e-12 * entered).all()
    lost = residual(model, balance, {}, fluxes, start, end)
    assert (lost.abs() <= 1e-9 * entered + 1e-9).all()

    outlets = juniata.downstream == len(juniata)
    kept = end["storage"].sum() + fluxes["outflow"][:, outlets].sum()
    torch.testing.assert_close(kept, fluxes["lateral"].sum(), rtol=1e-9, atol=0)
    torch.testing.assert_close(fluxes["lateral"].sum(), lateral.sum() * dt * 86400, rtol=1e-12, atol=0)


@kernels
def test_splitting_a_network_in_time_never_changes_the_answer(juniata, splitting, kernel):
    parameters, static = juniata.tensors()
    model = MuskingumCunge(kernel=kernel, substeps=3)
    lateral = storm(juniata.area, 12)
    start = model.init_state(len(juniata))

    def go_on(forcing, state):
        return route(model, forcing["lateral_inflow"], parameters, static, state)

    with torch.no_grad():
        whole, end = go_on({"lateral_inflow": lateral}, start)
        pieces, last = splitting.in_pieces(go_on, {"lateral_inflow": lateral}, start, {1, 5, 6})
    splitting.assert_agree(pieces, whole, torch.float64)
    splitting.assert_agree(last, end, torch.float64)


# -- steady flow ------------------------------------------------------------------


@pytest.mark.parametrize("substeps", [1, 12])
@pytest.mark.parametrize("runoff", [0.05, 2.0], ids=["within banks", "over banks"])
def test_steady_flow_is_the_sum_of_what_enters_and_storage_section_area_times_length(
    juniata, runoff, substeps
):
    parameters, static = juniata.tensors()
    lateral = torch.as_tensor(juniata.area) * runoff * 1e3 / 3600
    model = MuskingumCunge(substeps=substeps)
    state = settled(lateral, parameters, static)
    fluxes, state = route(model, lateral.expand(3, -1), parameters, static, state)

    total = np.append(lateral.numpy(), 0.0)
    for row in np.argsort(juniata.level):
        total[juniata.downstream[row]] += total[row]
    leaving = torch.tensor(total[:-1])
    torch.testing.assert_close(fluxes["discharge"][-1], leaving, rtol=1e-6, atol=0)

    # The depth at which Manning's discharge is the mean of in- and outflow, by bisection.
    section = Section.from_columns(parameters, static)
    low, high = torch.zeros_like(leaving), torch.full_like(leaving, 100.0)
    for _ in range(60):
        middle = (low + high) / 2
        below = section.discharge(middle) < leaving - lateral / 2
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    river = torch.tensor(~juniata.lake)
    expected = section.area(low) * static["Length_m"]
    torch.testing.assert_close(state["storage"][river], expected[river], rtol=0.01, atol=0)
    torch.testing.assert_close(fluxes["depth"][-1][river], low[river], rtol=0.01, atol=0)


# -- waves ------------------------------------------------------------------------


def test_a_front_crosses_a_long_reach_without_a_dip_before_or_an_overshoot_after_it():
    """Muskingum's outflow falls when a front enters, and rises when it ends; a river's does not."""
    parameters, static = network([1, 2], length=20000.0)
    model = MuskingumCunge()
    low, high = torch.tensor([5.0, 0.0]).double(), torch.tensor([40.0, 0.0]).double()
    parameters["BtmWdth"] *= 4
    parameters["TopWdth"] *= 4
    parameters["TopWdthCC"] *= 4
    lateral = torch.stack([low] * 12 + [high] * 36 + [low] * 72)
    fluxes, _ = route(model, lateral, parameters, static, settled(low, parameters, static))
    left = fluxes["discharge"][:, 1]
    assert left.min() > 5.0 * (1 - 1e-6)
    assert left.max() < 40.0 * (1 + 1e-6)
    rising, falling = left[: int(left.argmax()) + 1].diff(), left[int(left.argmax()) :].diff()
    assert (rising > -1e-6).all()
    assert (falling < 1e-6).all()
    assert left.max() > 39.0


def test_a_long_reach_carries_a_wave_as_a_chain_of_short_ones_does():
    """One reach of 4 km against 40 of 100 m, each with sub-steps that suit it."""
    wave = 12.0 - 8.0 * torch.cos(2 * torch.pi * torch.arange(32, dtype=torch.float64) / 16)

    def outflow(pieces, substeps):
        # What enters comes out of a lake: a reach has only half its lateral inflow to carry.
        rows = pieces + 1
        parameters, static = network(range(1, rows + 1), 4000.0 / pieces, lake=torch.arange(rows) == 0)
        for name in ("BtmWdth", "TopWdth", "TopWdthCC"):
            parameters[name] *= 4
        lateral = torch.zeros(len(wave), rows, dtype=torch.float64)
        lateral[:, 0] = wave
        start = settled(lateral[0], parameters, static)
        fluxes, _ = route(MuskingumCunge(substeps=substeps), lateral, parameters, static, start)
        return fluxes["outflow"][16:, -1] / 3600.0

    fine, coarse = outflow(40, 40), outflow(1, 12)
    delayed = (fine - wave[16:]).abs().max()
    assert delayed > 3.0
    assert (coarse - fine).abs().max() < 0.1 * delayed


@pytest.mark.parametrize(("flow", "slope"), [(0.5, 0.005), (2.0, 0.001)], ids=["within banks", "over banks"])
def test_a_small_wave_takes_length_over_celerity(flow, slope):
    """Through ten reaches of 4 km; the celerity is a difference quotient of Manning's discharge."""
    rows = 11
    parameters, static = network(range(1, rows + 1), 4000.0, slope, lake=torch.arange(rows) == 0)
    hours = torch.arange(96, dtype=torch.float64)
    lateral = torch.zeros(len(hours), rows, dtype=torch.float64)
    lateral[:, 0] = flow * (1 + 0.02 * torch.exp(-(((hours - 24) / 6) ** 2)))
    start = settled(lateral[0], parameters, static)
    fluxes, _ = route(MuskingumCunge(), lateral, parameters, static, start)
    left = fluxes["outflow"][:, -1] / 3600

    section = Section.from_columns(parameters, static)
    area = start["storage"][-1:] / 4000.0 * torch.tensor([0.999, 1.001], dtype=torch.float64)
    celerity = Section(*(part[-1:] for part in section)).flow(area).discharge.diff() / area.diff()
    centre = [(hours * (y - y[0])).sum() / (y - y[0]).sum() for y in (lateral[:, 0], left)]
    assert (centre[1] - centre[0]).item() == pytest.approx(40000 / celerity.item() / 3600, rel=0.02)


@pytest.mark.slow
def test_how_finely_time_is_cut_hardly_matters(juniata):
    parameters, static = juniata.tensors()
    lateral = torch.cat([storm(juniata.area, 30), storm(juniata.area, 30)[:1].expand(18, -1)])
    outlet = int(np.argmax(juniata.level))
    peaks = [
        route(MuskingumCunge(substeps=n), lateral, parameters, static)[0]["outflow"][:, outlet].max()
        for n in (2, 12, 60)
    ]
    assert max(peaks) / min(peaks) < 1.05


@kernels
def test_a_lake_passes_what_enters_it(kernel):
    lake = torch.tensor([False, True, False])
    parameters, static = network([1, 2, 3], lake=lake)
    lateral = torch.tensor([[3.0, 2.0, 0.0]], dtype=torch.float64).expand(30, -1)
    fluxes, state = route(MuskingumCunge(kernel=kernel), lateral, parameters, static)
    torch.testing.assert_close(fluxes["outflow"][:, 1], fluxes["upstream"][:, 1] + fluxes["lateral"][:, 1])
    assert fluxes["discharge"][-1, 2] == pytest.approx(5.0, rel=1e-3)
    for level in ("storage", "depth"):
        assert level not in state or state[level][1] == 0


# -- the graph --------------------------------------------------------------------


@given(seed=seeds, rows=st.integers(1, 60))
def test_a_network_is_solved_as_the_matrix_that_it_is(seed, rows):
    g = torch.Generator().manual_seed(seed)
    reach = 1 + (torch.rand(rows, generator=g) * 4).to(torch.int64)
    downstream = (torch.arange(rows) + reach).clamp(max=rows)
    shuffled = torch.randperm(rows, generator=g)
    place = torch.cat([shuffled, torch.tensor([rows])])
    graph = torch.empty(rows, dtype=torch.int64)
    graph[shuffled] = place[downstream]

    river = River.from_static(river_static(graph), rows, torch.device("cpu"))
    own, share = torch.rand(2, rows, generator=g, dtype=torch.float64)
    matrix = torch.zeros(rows, rows + 1, dtype=torch.float64)
    matrix[torch.arange(rows), graph] = 1.0
    matrix = matrix[:, :rows].T
    torch.testing.assert_close(river.inflow(own), matrix @ own)
    expected = torch.linalg.solve(torch.eye(rows, dtype=torch.float64) - share.unsqueeze(1) * matrix, own)
    torch.testing.assert_close(river.accumulate(own, share), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("downstream", "message"), [([1, 2, 0], "loop"), ([1, 1], "loop"), ([5, 2], "row 5 of 2")]
)
def test_a_graph_that_is_no_river_is_refused(downstream, message):
    with pytest.raises(ValueError, match=message):
        river_static(torch.tensor(downstream))


@pytest.mark.parametrize("options", [{"kernel": "todini"}, {"substeps": 0}])
def test_options_that_do_not_exist_are_refused(options):
    with pytest.raises(ValueError, match=r"kernel|substeps"):
        build_process_model({"name": "muskingum_cunge", **options})


@kernels
def test_a_description_builds_the_same_model(kernel):
    model = MuskingumCunge(kernel=kernel, substeps=5)
    assert build_process_model(model.describe()).describe() == model.describe()


# -- gradients --------------------------------------------------------------------


@kernels
@pytest.mark.parametrize(
    "length",
    [
        pytest.param(400.0, marks=pytest.mark.slow, id="short reaches"),
        pytest.param(6000.0, id="long reaches"),
    ],
)
def test_gradients_through_a_network_are_those_of_finite_differences(kernel, length):
    """Two steps of a tree of five reaches, in their banks and over them, with respect to everything."""
    g = torch.Generator().manual_seed(3)
    parameters, static = network([2, 2, 4, 4, 5], length=length)
    graph = {name: static.pop(name) for name in ("downstream", "jumps")}
    parameters = {k: v * (0.8 + 0.4 * torch.rand(5, generator=g).double()) for k, v in parameters.items()}
    lateral = 0.5 + 4.0 * torch.rand(5, generator=g).double()
    model = MuskingumCunge(kernel=kernel, substeps=3)
    with torch.no_grad():
        _, state = route(model, 0.7 * lateral.expand(2, -1), parameters, {**static, **graph})
    names = [*state, *parameters, *static]
    inputs = [*state.values(), *parameters.values(), *static.values(), lateral]

    def outflow(*values):
        given = dict(zip(names, values[:-1], strict=True))
        fluxes, _ = route(
            model,
            values[-1].expand(2, -1),
            {k: given[k] for k in parameters},
            {**{k: given[k] for k in static}, **graph},
            {k: given[k] for k in state},
        )
        return fluxes["discharge"], fluxes["depth"], fluxes["velocity"]

    assert torch.autograd.gradcheck(outflow, tuple(v.detach().requires_grad_() for v in inputs))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@kernels
def test_gradients_are_finite_from_a_dry_bed_to_a_flood(juniata, kernel, dtype):
    parameters, static = juniata.tensors()
    parameters = {k: v.to(dtype).requires_grad_() for k, v in parameters.items()}
    static = {k: v.to(dtype) if v.is_floating_point() else v for k, v in static.items()}
    lateral = storm(juniata.area, 6, depth=200.0, base=0.0).to(dtype)
    model = MuskingumCunge(kernel=kernel, substeps=2)
    state = model.init_state(len(juniata), dtype=dtype)
    fluxes, end = route(model, lateral, parameters, static, state)
    total = sum(value.sum() for value in (*fluxes.values(), *end.values()))
    gradients = torch.autograd.grad(total, [*parameters.values()])
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert all((gradient != 0).any() for gradient in gradients)


def test_roughness_is_found_again_from_the_hydrograph_at_a_gauge(juniata):
    """A twin experiment above a gauge inside the network, n following a power law of drained area.

    Bindas et al. (2024, https://doi.org/10.1029/2023WR035337) made such experiments on this river.
    """
    above = np.zeros(len(juniata) + 1, dtype=bool)
    above[juniata.gages["01557500"]] = True
    drained = np.append(juniata.area, 0.0)
    for row in np.argsort(juniata.level):
        drained[juniata.downstream[row]] += drained[row]
    for row in np.argsort(-juniata.level):
        above[row] |= above[juniata.downstream[row]]
    rows = np.flatnonzero(above[:-1])
    place = np.full(len(juniata) + 1, -1)
    place[rows] = np.arange(len(rows))
    parameters, static = juniata.tensors()
    parameters = {k: v[rows] for k, v in parameters.items()}
    graph = river_static(torch.as_tensor(place[juniata.downstream[rows]]))
    static = {**{k: static[k][rows] for k in ("Length_m", "So")}, **graph}
    size = torch.log(torch.as_tensor(drained[rows]) / 10.0)
    outlet = int(size.argmax())
    lateral = storm(juniata.area[rows], 16, depth=4.0)
    model = MuskingumCunge(substeps=2)

    truth = torch.tensor([np.log(0.045), -0.12])
    start = settled(lateral[0], parameters, static)

    def hydrograph(law):
        given = {**parameters, "n": torch.exp(law[0] + law[1] * size)}
        return route(model, lateral, given, static, start)[0]["discharge"][:, outlet]

    observed = hydrograph(truth)
    law = torch.tensor([np.log(0.08), 0.0], requires_grad=True)
    search = torch.optim.LBFGS([law], max_iter=40, line_search_fn="strong_wolfe", tolerance_change=1e-12)

    def misfit():
        search.zero_grad()
        error = ((hydrograph(law) - observed) ** 2).mean() / observed.var()
        error.backward()
        return error

    search.step(misfit)
    torch.testing.assert_close(law.detach(), truth, rtol=1e-3, atol=0)
    assert len(rows) > 10


@pytest.mark.parametrize("substeps", [0, -1, 1441, 10**12, 1.5, float("nan"), True, None, "12"])
def test_a_step_has_a_sensible_number_of_sub_steps(substeps):
    """A bundle's description may say anything; a run that never ends is no answer."""
    with pytest.raises(ConfigError, match="substeps must be a whole number from 1 to 1440"):
        build_process_model({"name": "muskingum_cunge", "substeps": substeps})
