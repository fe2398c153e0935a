"""The Muskingum-Cunge kernel of the National Water Model, as t-route runs it.

Equations and stopping rule are those of NOAA-OWP/t-route,
``src/kernel/muskingum/MCsingleSegStime_f2py_NOLOOP.f90``, with its short-time-step
assumption: a reach receives what the reaches above it released in the sub-step before, so
that each sub-step is explicit in the network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch._higher_order_ops.while_loop import while_loop

from ..contract import State, StateVariable
from .channel import TINY, Section, two_thirds
from .network import River

STATES = (
    StateVariable("discharge", "m3 s-1", "flow out of the reach in the last sub-step"),
    StateVariable("depth", "m", "depth of the water in the reach"),
)
SOURCE = "NOAA-OWP/t-route, SUBMUSKINGCUNGE of the National Water Model"
#: The secant iteration on depth ends at this relative or this absolute change (m).
RELATIVE, ABSOLUTE = 0.01, 0.01
ITERATIONS = 100
#: Iterations between two looks at whether any reach still seeks its depth, in compiled code.
AT_ONCE = 2


def route(
    state: State, lateral: Tensor, section: Section, length: Tensor, river: River, seconds: float
) -> tuple[State, Tensor]:
    """Advance all reaches by one sub-step.

    Parameters
    ----------
    state : State
        ``discharge`` in m3 s-1 and ``depth`` in m, ``[rows]``.
    lateral, section, length, river, seconds
        As in :func:`.conservative.route`.

    Returns
    -------
    state : State
    inflow : Tensor ``[rows]``
        Outflow of the reaches directly above in the sub-step before, m3 s-1.
    """
    last = state["discharge"]
    inflow = river.inflow(last)
    entering = seconds * (inflow + lateral)
    wet = (lateral > 0) | (inflow > 0) | (last > 0)

    def muskingum(trial: _Trial, flow: Tensor, least: float) -> Tensor:
        retained = trial.travel * (1.0 - (0.5 - flow * trial.damping).clamp(least, 0.5))
        # The inflow at both ends of the sub-step is that before it: C1 + C2 = dt / D.
        return (entering + (retained - 0.5 * seconds) * last) / (retained + 0.5 * seconds)

    def attempt(depth: Tensor) -> _Trial:
        return _trial(section, length, seconds, depth)

    outflow, depth = _solve(attempt, state["depth"], wet, muskingum)
    depth = torch.where(wet, depth, 0.0)
    outflow = torch.where(wet, outflow, 0.0)
    if river.lake is not None:
        outflow = torch.where(river.lake, inflow + lateral, outflow)
        depth = torch.where(river.lake, 0.0, depth)
    return {"discharge": outflow, "depth": depth}, inflow


class _Trial(NamedTuple):
    """What Muskingum's equation needs of uniform flow at a depth: tensors ``[rows]``."""

    #: By which a flow in m3 s-1 lowers the weight of the inflow below 0.5; 0 where the water stands.
    damping: Tensor
    #: Time that a wave takes through the reach, at least a sub-step, s.
    travel: Tensor
    #: Manning's discharge of channel and flood plains as one, m3 s-1.
    discharge: Tensor


class _Search(NamedTuple):
    """Where the secant method stands in each reach: tensors ``[rows]``."""

    #: The two last depths tried, m.
    lower: Tensor
    upper: Tensor
    #: Outflow of the last trial, and what is left of the one before, m3 s-1.
    outflow: Tensor
    residual: Tensor
    #: Where the depth is still sought.
    active: Tensor
    #: Iterations so far, one number.
    iterations: Tensor


#: The search, and what the two last depths gave.
_Stage = tuple[_Search, _Trial, _Trial]


def _solve(
    attempt: Callable[[Tensor], _Trial],
    depth: Tensor,
    wet: Tensor,
    muskingum: Callable[[_Trial, Tensor, float], Tensor],
) -> tuple[Tensor, Tensor]:
    """Find outflow and depth of each reach at which Muskingum's outflow is Manning's discharge.

    The secant method starts from 0.67 and 1.33 times the last depth; the outflow is that of the
    last trial, not of the depth found. The rule is loose (:data:`RELATIVE`, :data:`ABSOLUTE`):
    iterating on would change flows by some percent. A reach that does not meet it in
    :data:`ITERATIONS` keeps its last trial, where t-route tries again in a wider interval.
    """

    def iterate(s: _Search, at_lower: _Trial, at_upper: _Trial) -> _Stage:
        # The weight of each trial is made of what the one before it left behind.
        guess = muskingum(at_lower, s.residual, 0.0)
        trial = muskingum(at_upper, guess, 0.25)
        residual, last = guess - at_lower.discharge, trial - at_upper.discharge
        slope = residual - last
        root = s.upper - last * (s.lower - s.upper) / torch.where(slope == 0, 1.0, slope)
        root = torch.where((slope == 0) | (root < 0), s.upper, root)
        change = (root - s.upper).abs()

        upper = torch.where(s.active, root, s.upper)
        active = s.active & (change > RELATIVE * s.upper) & (change >= ABSOLUTE) & (upper >= ABSOLUTE)
        outflow = torch.where(s.active, trial, s.outflow)
        # Copies, since a compiled loop gives back no tensor that it was given.
        search = _Search(s.upper.clone(), upper, outflow, residual, active, s.iterations + 1)
        return search, _Trial(*(values.clone() for values in at_upper)), attempt(upper)

    lower, upper = 0.67 * depth, 1.33 * depth + ABSOLUTE
    none = torch.zeros((), dtype=torch.int64, device=depth.device)
    search = _Search(lower, upper, torch.zeros_like(depth), torch.zeros_like(depth), wet, none)
    found, _, _ = _repeat(iterate, (search, attempt(lower), attempt(upper)))
    return found.outflow, found.upper


def _repeat(iterate: Callable[[_Search, _Trial, _Trial], _Stage], stage: _Stage) -> _Stage:
    """Iterate until all reaches have found their depths, in compiled code too."""

    def goes_on(search: _Search, at_lower: _Trial, at_upper: _Trial) -> Tensor:
        return search.active.any() & (search.iterations < ITERATIONS)

    def several(*stage: *_Stage) -> _Stage:
        for _ in range(AT_ONCE):
            stage = iterate(*stage)
        return stage

    if torch.compiler.is_compiling():
        compiled: _Stage = while_loop(goes_on, several, stage)
        return compiled
    while bool(goes_on(*stage)):
        stage = iterate(*stage)
    return stage


def observe(state: State, section: Section, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute velocity in m s-1, depth in m, and volume in m3 at that depth.

    The velocity is that of banks without flood plains.
    """
    depth = state["depth"]
    area = (section.bottom + section.side * depth) * depth
    radius = area / (section.bottom + 2.0 * section.slant * depth)
    velocity = torch.sqrt(section.slope) / section.n * two_thirds(radius)
    return velocity, depth, section.area(depth) * length


def _trial(s: Section, length: Tensor, seconds: float, depth: Tensor) -> _Trial:
    """Compute the hydraulics of a depth in m.

    One hydraulic radius and one roughness, weighted by wetted perimeter, serve the whole
    section; the celerity above bankfull is the mean of channel and flood plains by area.
    """
    inside = torch.minimum(depth, s.bankfull)
    above = depth - inside
    over = above > 0
    whole = s.top + s.floodplain
    channel_area, plain_area = (s.bottom + s.side * inside) * inside, whole * above
    area = channel_area + plain_area
    channel_perimeter = s.bottom + 2.0 * s.slant * inside
    plain_perimeter = torch.where(over, whole + 2.0 * above, 0.0)
    perimeter = channel_perimeter + plain_perimeter
    radius = area / perimeter
    fall = torch.sqrt(s.slope)
    speed = fall * two_thirds(radius)
    roughness = channel_perimeter * s.n + plain_perimeter * s.n_floodplain  # times the perimeter

    width = s.bottom + 2.0 * s.side * inside
    celerity = speed / s.n * (5.0 / 3.0 - 4.0 / 3.0 * s.slant * radius / width)
    plain_celerity = fall / s.n_floodplain * (5.0 / 3.0) * two_thirds(above)
    mean = (celerity * channel_area + plain_celerity * plain_area) / area.clamp(min=TINY)
    celerity = torch.where(over, mean, celerity)
    moving = (celerity > 0) & (depth > 0)
    celerity = celerity.clamp(min=TINY)
    width = torch.where(over, whole, width)
    return _Trial(
        damping=torch.where(moving, 0.25 / (width * s.slope * celerity * length), 0.0),
        travel=torch.where(moving, (length / celerity).clamp(min=seconds), seconds),
        discharge=area * speed * perimeter / roughness,
    )
