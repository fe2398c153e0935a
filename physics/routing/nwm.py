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
        weight = 0.5 * (1.0 - flow / (2.0 * trial.width * section.slope * trial.celerity * length))
        weight = torch.where(trial.moving, weight.clamp(least, 0.5), 0.5)
        travel = torch.where(trial.moving, (length / trial.celerity).clamp(min=seconds), seconds)
        retained = travel * (1.0 - weight)
        # The inflow at both ends of the sub-step is that before it: C1 + C2 = dt / D.
        return (entering + (retained - 0.5 * seconds) * last) / (retained + 0.5 * seconds)

    outflow, depth = _solve(section, state["depth"], wet, muskingum)
    depth = torch.where(wet, depth, 0.0)
    outflow = torch.where(wet, outflow, 0.0)
    if river.lake is not None:
        outflow = torch.where(river.lake, inflow + lateral, outflow)
        depth = torch.where(river.lake, 0.0, depth)
    return {"discharge": outflow, "depth": depth}, inflow


def _solve(
    section: Section, depth: Tensor, wet: Tensor, muskingum: Callable[[_Trial, Tensor, float], Tensor]
) -> tuple[Tensor, Tensor]:
    """Find outflow and depth of each reach at which Muskingum's outflow is Manning's discharge.

    The secant method starts from 0.67 and 1.33 times the last depth; the outflow is that of the
    last trial, not of the depth found. The rule is loose (:data:`RELATIVE`, :data:`ABSOLUTE`):
    iterating on would change flows by some percent. A reach that does not meet it in
    :data:`ITERATIONS` keeps its last trial, where t-route tries again in a wider interval.
    """
    lower, upper = 0.67 * depth, 1.33 * depth + ABSOLUTE
    at_lower, at_upper = _trial(section, lower), _trial(section, upper)
    outflow, residual = torch.zeros_like(depth), torch.zeros_like(depth)
    active = wet
    for _ in range(ITERATIONS):
        if not bool(active.any()):
            break
        # The weight of each trial is made of what the one before it left behind.
        guess = muskingum(at_lower, residual, 0.0)
        trial = muskingum(at_upper, guess, 0.25)
        residual = guess - at_lower.discharge
        slope = residual - (trial - at_upper.discharge)
        root = upper - (trial - at_upper.discharge) * (lower - upper) / torch.where(slope == 0, 1.0, slope)
        root = torch.where((slope == 0) | (root < 0), upper, root)
        change = (root - upper).abs()

        outflow = torch.where(active, trial, outflow)
        lower, upper = upper, torch.where(active, root, upper)
        active = active & (change > RELATIVE * lower) & (change >= ABSOLUTE) & (upper >= ABSOLUTE)
        at_lower, at_upper = at_upper, _trial(section, upper)
    return outflow, upper


def observe(state: State, section: Section, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute velocity in m s-1, depth in m, and volume in m3 at that depth.

    The velocity is that of banks without flood plains.
    """
    depth = state["depth"]
    area = (section.bottom + section.side * depth) * depth
    radius = area / (section.bottom + 2.0 * section.slant * depth)
    velocity = torch.sqrt(section.slope) / section.n * two_thirds(radius)
    return velocity, depth, section.area(depth) * length


class _Trial(NamedTuple):
    """Uniform flow at a depth, in the National Water Model's terms: tensors ``[rows]``."""

    #: Celerity, m s-1; at least TINY.
    celerity: Tensor
    #: Whether the celerity is above zero.
    moving: Tensor
    #: Width of the water surface, m.
    width: Tensor
    #: Manning's discharge of channel and flood plains as one, m3 s-1.
    discharge: Tensor


def _trial(s: Section, depth: Tensor) -> _Trial:
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

    narrowing = radius * 2.0 * s.slant / (s.bottom + 2.0 * s.side * inside)
    celerity = speed / s.n * (5.0 / 3.0 - 2.0 / 3.0 * narrowing)
    plain_celerity = fall / s.n_floodplain * (5.0 / 3.0) * two_thirds(above)
    mean = (celerity * channel_area + plain_celerity * plain_area) / area.clamp(min=TINY)
    celerity = torch.where(over, mean, celerity)
    roughness = (channel_perimeter * s.n + plain_perimeter * s.n_floodplain) / perimeter
    return _Trial(
        celerity=celerity.clamp(min=TINY),
        moving=(celerity > 0) & (depth > 0),
        width=torch.where(over, whole, s.bottom + 2.0 * s.side * depth),
        discharge=area * speed / roughness,
    )
