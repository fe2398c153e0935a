"""What the tests share: process models to check, random legal input, and the tolerances of splitting.

A process model that joins the registry joins the tests of every law by itself. One whose
constructor has options that change its equations adds them to ``VARIANTS``.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from math import isfinite
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from dmg_bmi.physics import Balance, Declaration, Flux, Parameter, ProcessModel, StateVariable
from dmg_bmi.physics.forcings import P
from hypothesis import HealthCheck, settings
from torch import Tensor

from dmg_bmi import DeltaModel, FeatureStatistics, ParameterRole
from dmg_bmi.model.delta_model import resolve_roles
from dmg_bmi.model.registry import PROCESS_MODELS, build_network, build_process_model
from dmg_bmi.synthetic import basins

# Helpers that tests import stand beside this file.
sys.path.insert(0, str(Path(__file__).parent))

# Rounding depends on how many threads share a matrix product; and many test processes share few cores.
torch.set_num_threads(1)

# In CI the same examples each time: a rare one is for those who look for it, not for whoever lands next.
settings.register_profile(
    "ci",
    deadline=None,
    max_examples=5,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.register_profile("thorough", settings.get_profile("ci"), max_examples=200)
settings.load_profile("ci")

Series = Mapping[str, Tensor]


@pytest.fixture(scope="session", autouse=True)
def _truths_once() -> Iterator[None]:
    """Synthetic basins of the same weather and parameters have the same runoff: it is computed once.

    Weather and attributes, which cost little, are made anew each time.
    """
    computed, compute = {}, basins._runoff

    def runoff(forcing, parameters, days):
        digest = hashlib.sha256(repr((days, [*forcing], [*parameters])).encode())
        for values in (*forcing.values(), *parameters.values()):
            digest.update(repr((values.shape, values.dtype)).encode() + values.tobytes())
        if digest.digest() not in computed:
            computed[digest.digest()] = compute(forcing, parameters, days)
        return computed[digest.digest()].copy()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(basins, "_runoff", runoff)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: ``$DMG_BMI_SHARED``, or ``../shared/data`` beside the repository."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("DMG_BMI_SHARED", default))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} does not exist; set DMG_BMI_SHARED to where it is")
    return folder


# -- process models under test ----------------------------------------------------


class LinearReservoir(ProcessModel):
    """What a third party writes: one store that empties in proportion to what it holds."""

    declaration = Declaration(
        name="linear_reservoir",
        forcings=(P,),
        parameters=(Parameter("k", 0.01, 1.0, "d-1", "recession coefficient"),),
        states=(StateVariable("S", "mm", "stored water"),),
        fluxes=(Flux("Q", "mm", "outflow", aggregation="sum"),),
        balances=(Balance("water", "mm", ("P",), ("Q",), ("S",)),),
    )

    def step(self, forcing, state, parameters, static, dt, processes=()):
        filled = state["S"] + forcing["P"]
        outflow = parameters["k"] * dt * filled
        return {"S": filled - outflow}, {"Q": outflow}


#: By name, the options to test; without an entry the defaults are.
VARIANTS: dict[str, Sequence[Mapping[str, object]]] = {
    "hbv": ({}, {"betaet": True}),
    # Sub-steps repeat the same equations: two show as much as twelve.
    "muskingum_cunge": ({"substeps": 2},),
}


@cache
def process_models() -> dict[str, ProcessModel]:
    """Every registered process model, as a column and as a catchment, and a third party's."""
    models: dict[str, ProcessModel] = {"third_party": LinearReservoir()}
    for name in PROCESS_MODELS:
        for options in VARIANTS.get(name, ({},)):
            label = "-".join([name, *(f"{key}={value}" for key, value in options.items())])
            description = {"name": name, **options}
            models[label] = build_process_model(description)
            parallel: dict[str, object] = {"nmul": 2}
            if any(f.name == "Q" for f in models[label].declaration.fluxes):
                parallel["routing"] = 7
            models[f"{label}-catchment"] = build_process_model({**description, **parallel})
    return models


@cache
def hydrologic_models() -> dict[str, ProcessModel]:
    """Those that turn precipitation into runoff ``Q`` and evaporation ``ET``."""
    return {
        label: model
        for label, model in process_models().items()
        if any(b.quantity == "water" and {"Q", "ET"} <= {*b.out} for b in model.declaration.balances)
    }


@cache
def snow_models() -> dict[str, ProcessModel]:
    """Those of them that know snow."""
    return {
        label: model
        for label, model in hydrologic_models().items()
        if any(f.name == "SWE" for f in model.declaration.fluxes)
    }


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for a ``process_model``, ``hydrologic_model`` or ``snow_model`` runs with each."""
    for argument, models in (
        ("process_model", process_models),
        ("hydrologic_model", hydrologic_models),
        ("snow_model", snow_models),
    ):
        if argument in metafunc.fixturenames:
            metafunc.parametrize(argument, [*models().values()], ids=[*models()])


@pytest.fixture(scope="session")
def linear_reservoir() -> ProcessModel:
    """The third party's model."""
    return LinearReservoir()


# -- random legal input -----------------------------------------------------------


def _uniform(lower: float, upper: float, shape: tuple[int, ...], g: torch.Generator) -> Tensor:
    lower = lower if isfinite(lower) else min(-100.0, upper)
    upper = upper if isfinite(upper) else max(100.0, lower)
    return lower + (upper - lower) * torch.rand(shape, generator=g, dtype=torch.float64)


def weather(
    model: ProcessModel,
    time: int,
    rows: int,
    seed: int,
    dt: float = 1.0,
    gap: tuple[float, float] | None = None,
) -> dict[str, Tensor]:
    """Forcing ``[time, rows]`` of `model`: seasons and showers, other names uniform in their limits.

    No temperature falls within `gap`, whose ends lie outside every threshold.
    """
    g = torch.Generator().manual_seed(seed)
    day = torch.arange(time, dtype=torch.float64).unsqueeze(1) * dt
    season = torch.sin(2 * torch.pi * (day / 365 - torch.rand(rows, generator=g, dtype=torch.float64)))

    def rand() -> Tensor:
        return torch.rand(time, rows, generator=g, dtype=torch.float64)

    temperature = 4.0 + 12.0 * season + 8.0 * (rand() - 0.5)
    if gap is not None:
        low, high = gap
        middle, half = (low + high) / 2, (high - low) / 2
        away = temperature - middle
        temperature = middle + torch.where(away < 0, -1.0, 1.0) * (away.abs() + half)
    known = {
        "P": torch.where(rand() < 0.4, -9.0 * rand().log(), 0.0) * dt,
        "T": temperature,
        "PET": torch.relu(2.0 + 2.5 * season + rand() - 0.5) * dt,
    }
    return {
        f.name: known[f.name] if f.name in known else _uniform(f.lower, f.upper, (time, rows), g)
        for f in model.declaration.forcings
    }


def parameters(model: ProcessModel, rows: int, seed: int) -> dict[str, Tensor]:
    """Legal parameters ``[rows, *shape]``; a fifth of the values lies on a bound."""
    g = torch.Generator().manual_seed(seed)
    values = {}
    for p in model.declaration.parameters:
        share = _uniform(-0.125, 1.125, (rows, *p.shape), g).clamp(0, 1)
        values[p.name] = p.lower + (p.upper - p.lower) * share
    return values


def attributes(model: ProcessModel, rows: int, seed: int) -> dict[str, Tensor]:
    """Legal attributes ``[rows]`` of the equations."""
    g = torch.Generator().manual_seed(seed)
    return {a.name: _uniform(a.lower, a.upper, (rows,), g) for a in model.declaration.attributes}


@pytest.fixture(scope="session")
def legal() -> SimpleNamespace:
    """Random legal ``weather``, ``parameters`` and ``attributes`` of a process model."""
    return SimpleNamespace(weather=weather, parameters=parameters, attributes=attributes)


# -- the same answer however it is computed ---------------------------------------

#: Relative, absolute for fluxes per step, absolute for stores (design contract 3).
TOLERANCE = {torch.float64: (1e-10, 1e-12, 1e-12), torch.float32: (1e-5, 1e-6, 1e-3)}


def assert_agree(
    actual: Series, expected: Series, precision: torch.dtype, stores: Collection[str] = ()
) -> None:
    """Two runs give the same answer within the tolerance of `precision`."""
    assert actual.keys() == expected.keys()
    relative, flux, store = TOLERANCE[precision]
    for name, value in actual.items():
        reference = expected[name]
        assert value.shape == reference.shape, name
        assert value.dtype == reference.dtype, name
        bound = relative * reference.abs() + (store if name in stores else flux)
        excess = ((value - reference).abs() - bound).max()
        assert excess <= 0, f"{name} differs by {excess:.2e} more than allowed"


def in_pieces(
    go_on: Callable[[Series, dict[str, Tensor]], tuple[dict[str, Tensor], dict[str, Tensor]]],
    forcing: Series,
    state: dict[str, Tensor],
    cuts: Collection[int],
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Run a sequence cut before the steps `cuts`, each piece going on from the state of the last."""
    time = next(iter(forcing.values())).shape[0]
    edges = [0, *sorted({c for c in cuts if 0 < c < time}), time]
    pieces = []
    for start, end in pairwise(edges):
        fluxes, state = go_on({name: value[start:end] for name, value in forcing.items()}, state)
        pieces.append(fluxes)
    return {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}, state


@pytest.fixture(scope="session")
def splitting() -> SimpleNamespace:
    """``in_pieces`` and ``assert_agree``."""
    return SimpleNamespace(in_pieces=in_pieces, assert_agree=assert_agree)


# -- networks and process models together -----------------------------------------


def hybrid(
    phy: ProcessModel,
    networks: Mapping[str, Mapping[str, object]],
    *roles: ParameterRole,
    fixed: Mapping[str, float] | None = None,
    weights: torch.dtype = torch.float64,
    seed: int = 0,
) -> DeltaModel:
    """A DeltaModel with random weights, large enough for parameters to differ between rows and steps."""
    torch.manual_seed(seed)
    spelt = resolve_roles(roles, networks, {"phy": phy}, fixed or {})
    sizes = {p.name: p.size for p in phy.declaration.parameters}
    built = {
        role.network: build_network(
            networks[role.network],
            n_inputs=len(role.inputs) + len(role.attributes),
            n_outputs=sum(sizes[name] for name in role.supplied),
        )
        for role in spelt
    }
    limited = [*phy.declaration.forcings, *phy.declaration.attributes]
    statistics = {
        q.name: FeatureStatistics((q.lower + q.upper) / 2, (q.upper - q.lower) / 4)
        for q in limited
        if isfinite(q.upper - q.lower)
    }
    statistics |= {
        "P": FeatureStatistics(-0.3, 0.3, "log_sqrt"),
        "T": FeatureStatistics(4.0, 9.0),
        "PET": FeatureStatistics(2.0, 2.0),
    }
    model = DeltaModel(built, phy, spelt, fixed, statistics)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2.0)
    return model.to(weights).eval()


def everything(
    model: DeltaModel, time: int, rows: int, seed: int, **weather_options: object
) -> tuple[Series, Series]:
    """Random legal forcing ``[time, rows]`` and attributes ``[rows]``, also those that only networks see."""
    g = torch.Generator().manual_seed(seed)
    forcing: dict[str, Tensor] = {}
    static: dict[str, Tensor] = {}
    for key, phy in model.process_models.items():
        forcing |= weather(phy, time, rows, seed + len(key), **weather_options)
        static |= attributes(phy, rows, seed + 1)
    for name in model.forcing_names:
        if name not in forcing:
            forcing[name] = torch.randn(time, rows, generator=g, dtype=torch.float64)
    for name in model.attribute_names:
        if name not in static:
            static[name] = torch.randn(rows, generator=g, dtype=torch.float64)
    return forcing, static


@pytest.fixture(scope="session")
def hybrids() -> SimpleNamespace:
    """``hybrid`` to make a DeltaModel and ``everything`` to feed it."""
    return SimpleNamespace(hybrid=hybrid, everything=everything)
