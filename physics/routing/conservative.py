"""Muskingum-Cunge routing that conserves volume, for all reaches of a network at once.

The water in a reach is its length times the section area of one flow Q, which weighs in-
and outflow as Muskingum does (Todini, 2007). The storage S alone then determines Q, by
Manning's equation, and in steady flow is length times section area at the mean of in-
and outflow. With inflow I, uniform lateral inflow q and outflow O as means over the
sub-step dt, and Q linear in S within it,

    (1 - theta) (O - q/2) + theta (I + q/2) = Q + C (I + q - O),
    S' = S + dt (I + q - O),

where C = c dt / L is the Courant number. With ``theta = (1 + C - D) / 2`` the numerical
diffusion is that of the flood wave, Q / (2 B So), D = Q / (B So c L) being the cell
Reynolds number (Cunge, 1969). This is Todini's scheme, with ``theta - C/2`` for
Muskingum's X, in terms of mean flows. Three limits keep it stable, and flows and volumes
non-negative, for any C and D:

- theta is between 0 and 1, and c is at least the velocity: no more leaves than the reach holds.
- Where the weight C - theta of I is positive, O is a mean of Q and I, linear in the
  unknown I: the network is a triangular system (:meth:`River.accumulate`).
- Where it is negative the reach is long for its sub-step: what enters has yet to cross
  it. Then I is that of the sub-step before, and O is between its last value and
  Q + q/2: it waits for a front, where Muskingum's outflow dips before it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..contract import State, StateVariable
from .channel import TINY, Section
from .network import River

STATES = (
    StateVariable("storage", "m3", "water in the reach", rounding=1e-3),
    StateVariable("discharge", "m3 s-1", "flow out of the reach in the last sub-step"),
)
SOURCE = "Cunge (1969), Journal of Hydraulic Research 7, 205-230; Todini (2007), https://doi.org/10.5194/hess-11-1645-2007"


def route(
    state: State, lateral: Tensor, section: Section, length: Tensor, river: River, seconds: float
) -> tuple[State, Tensor]:
    """Advance all reaches by one sub-step; see the module for the scheme.

    Parameters
    ----------
    state : State
        ``storage`` in m3 and ``discharge``, the last outflow, in m3 s-1, ``[rows]``.
    lateral : Tensor ``[rows]``
        m3 s-1.
    section : Section
    length : Tensor ``[rows]``
        m.
    river : River
    seconds : float
        Length of the sub-step.

    Returns
    -------
    state : State
    inflow : Tensor ``[rows]``
        From upstream in the sub-step, m3 s-1.
    """
    storage, last = state["storage"], state["discharge"]
    flow, local, share = _outflow_terms(storage, lateral, section, length, seconds)
    steady = flow + 0.5 * lateral
    crossing = local + share * river.inflow(last)
    crossing = torch.maximum(crossing, torch.minimum(last, steady))
    crossing = torch.minimum(crossing, torch.maximum(last, steady))
    local = torch.where(share < 0, crossing, local)
    share = torch.relu(share)
    if river.lake is not None:
        local = torch.where(river.lake, lateral, local)
        share = torch.where(river.lake, 1.0, share)

    discharge = river.accumulate(local, share)
    inflow = river.inflow(discharge)
    storage = storage + seconds * (inflow + lateral - discharge)
    return {"storage": storage, "discharge": discharge}, inflow


def _outflow_terms(
    storage: Tensor, lateral: Tensor, section: Section, length: Tensor, seconds: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute Q, and the two terms of the outflow ``local + share * inflow`` of each reach."""
    # Rounding may leave an emptied reach slightly negative, in its last digits.
    held = storage.clamp(min=0.0)
    flow = section.flow(held / length)
    speed = flow.discharge * length / held.clamp(min=TINY)
    celerity = torch.maximum(flow.celerity, speed).clamp(min=TINY)
    courant = celerity * (seconds / length)
    reynolds = flow.discharge / (flow.top_width * section.slope * celerity * length)

    theta = (0.5 * (1.0 + courant - reynolds)).clamp(0.0, 1.0)
    divisor = 1.0 + courant - theta
    share = (courant - theta) / divisor
    local = (flow.discharge + (courant - theta + 0.5) * lateral) / divisor
    return flow.discharge, local, share


def observe(state: State, section: Section, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute mean velocity in m s-1, depth in m and volume in m3 of the water in each reach."""
    held = state["storage"].clamp(min=0.0)
    area = held / length
    flow = section.flow(area)
    return flow.discharge / area.clamp(min=TINY), flow.depth, held
