"""In-catchment routing: gamma unit hydrographs with their queue in the state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil

import torch
from torch import Tensor

from .contract import Parameter

SOURCE = "Nash (1957); bounds of Feng et al. (2022), https://doi.org/10.1029/2022WR032404"

PARAMETERS = (
    Parameter("route_a", 0.0, 2.9, "1", "shape of the gamma unit hydrograph, less 0.1", SOURCE),
    Parameter("route_b", 0.0, 6.5, "d", "scale of the gamma unit hydrograph, less 0.5 d", SOURCE),
)
#: Hours, the longest lag.
LONGEST = 48.0
YANG = "Yang et al. (2026), https://arxiv.org/abs/2609.06794"
LAGGED_PARAMETERS = (
    Parameter("route_a", 0.0, 5.0, "1", "shape of the gamma unit hydrograph, less 0.1", YANG),
    Parameter("route_b", 0.0, 12.0, "h", "scale of the gamma unit hydrograph, less 0.5 h", YANG),
    Parameter("route_tau", 0.0, LONGEST, "h", "lag of the unit hydrograph", YANG),
)


def gamma_ordinates(route_a: Tensor, route_b: Tensor, length: int, dt: float) -> Tensor:
    """Compute the ordinates of a gamma unit hydrograph, which add up to one.

    The gamma density at the middle of each step with shape ``route_a + 0.1`` and scale
    ``route_b + 0.5`` days, normalised over `length` steps of `dt` days, or both in hours. Its
    constants cancel in the normalisation, which makes it a softmax.

    Parameters
    ----------
    route_a, route_b : Tensor ``[...]``
    length : int
    dt : float
        Days.

    Returns
    -------
    Tensor ``[..., length]``
    """
    t = (torch.arange(length, dtype=route_a.dtype, device=route_a.device) + 0.5) * dt
    shape = (route_a + 0.1).unsqueeze(-1)
    scale = (route_b + 0.5).unsqueeze(-1)
    return torch.softmax((shape - 1.0) * t.log() - t / scale, dim=-1)


def lagged_ordinates(route_a: Tensor, route_b: Tensor, route_tau: Tensor, length: int, dt: float) -> Tensor:
    """Compute the ordinates of a gamma unit hydrograph that is shifted by a lag; they add up to one.

    The last `LONGEST` hours are left for the lag, so that no water is cut off: what is
    shifted is normalised over the steps before. Between whole steps the shift interpolates.

    Parameters
    ----------
    route_a, route_b, route_tau : Tensor ``[...]``
        Shape, scale in hours, lag in hours.
    length : int
    dt : float
        Days.

    Returns
    -------
    Tensor ``[..., length]``
    """
    hours = 24.0 * dt
    unshifted = max(length - ceil(LONGEST / hours), 1)
    # A leading zero is what is found before the first ordinate.
    padded = torch.nn.functional.pad(
        gamma_ordinates(route_a, route_b, unshifted, hours), (1, length - unshifted)
    )
    shift = (route_tau / hours).clamp(max=float(length - unshifted)).unsqueeze(-1)
    whole = shift.detach().floor()
    source = torch.arange(1, length + 1, device=shift.device) - whole.long()
    part = shift - whole
    return (1.0 - part) * padded.gather(-1, source.clamp(min=0)) + part * padded.gather(
        -1, (source - 1).clamp(min=0)
    )


#: Unit hydrographs by name: their parameters, and the function of these, `length` and `dt`.
SHAPES: Mapping[str, tuple[tuple[Parameter, ...], Callable[..., Tensor]]] = {
    "gamma": (PARAMETERS, gamma_ordinates),
    "lagged_gamma": (LAGGED_PARAMETERS, lagged_ordinates),
}


def release(queue: Tensor, inflow: Tensor, ordinates: Tensor) -> tuple[Tensor, Tensor]:
    """Put one step's inflow into the queue and take one step's outflow from it.

    Each step's water is spread by the ordinates of its own step, so that nothing is lost
    however the ordinates change, and a sequence cut anywhere goes on unchanged.

    Parameters
    ----------
    queue : Tensor ``[rows, length]``
        Water that will leave in this step (before `inflow`) and the following ones.
    inflow : Tensor ``[rows]``
    ordinates : Tensor ``[rows, length]``

    Returns
    -------
    outflow : Tensor ``[rows]``
    queue : Tensor ``[rows, length]``
    """
    queue = torch.addcmul(queue, inflow.unsqueeze(-1), ordinates)
    return queue[..., 0], torch.nn.functional.pad(queue[..., 1:], (0, 1))
