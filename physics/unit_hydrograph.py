"""In-catchment routing: a gamma unit hydrograph with its queue in the state."""

from __future__ import annotations

import torch
from torch import Tensor

from .contract import Parameter

SOURCE = "Nash (1957); bounds of Feng et al. (2022), https://doi.org/10.1029/2022WR032404"

PARAMETERS = (
    Parameter("route_a", 0.0, 2.9, "1", "shape of the gamma unit hydrograph, less 0.1", SOURCE),
    Parameter("route_b", 0.0, 6.5, "d", "scale of the gamma unit hydrograph, less 0.5 d", SOURCE),
)


def gamma_ordinates(route_a: Tensor, route_b: Tensor, length: int, dt: float) -> Tensor:
    """Compute the ordinates of a gamma unit hydrograph, which add up to one.

    The gamma density at the middle of each step with shape ``route_a + 0.1`` and scale
    ``route_b + 0.5`` days, normalised over `length` steps of `dt` days. Its constants
    cancel in the normalisation, which makes it a softmax.

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
