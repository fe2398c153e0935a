"""Hydraulics of a river channel: a trapezoid between flood plains, in uniform flow.

The section is the one that hydrofabrics and the National Water Model describe: a bottom,
two banks, and above bankfull depth a rectangle as wide as the flood plains and the channel
together. Discharge follows Manning's equation for channel and flood plains apart, which
are then added (divided channel method; Chow, 1959, Open-Channel Hydraulics, section 6-5).
Taken as one, with one hydraulic radius, the discharge of such a section falls when the
water reaches the flood plains, and no longer tells the depth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Self

import torch
from torch import Tensor

from ..contract import Attribute, Parameter

HYDROFABRIC = "columns of the NextGen hydrofabric v2.2 and of the National Water Model's RouteLink"

PARAMETERS = (
    Parameter("n", 0.01, 0.3, "s m-1/3", "Manning's roughness of the channel", HYDROFABRIC, logarithmic=True),
    Parameter(
        "nCC", 0.01, 0.6, "s m-1/3", "Manning's roughness of the flood plains", HYDROFABRIC, logarithmic=True
    ),
    Parameter("BtmWdth", 0.1, 2000.0, "m", "width of the bottom", HYDROFABRIC, logarithmic=True),
    Parameter(
        "TopWdth", 0.1, 5000.0, "m", "width of the channel at bankfull depth", HYDROFABRIC, logarithmic=True
    ),
    Parameter(
        "TopWdthCC", 0.1, 20000.0, "m", "width of channel and flood plains", HYDROFABRIC, logarithmic=True
    ),
    Parameter("ChSlp", 0.01, 10.0, "1", "rise over run of the banks", HYDROFABRIC, logarithmic=True),
)
ATTRIBUTES = (
    Attribute("Length_m", "m", "length of the reach", lower=1.0, upper=1e6),
    Attribute("So", "1", "slope of the bed", lower=1e-6, upper=1.0),
)
#: Arguments of powers are kept this far above zero, where the slope of x**a (a < 1) is infinite.
TINY = 1e-12
#: A channel wider at the bottom than at the top has no bankfull depth: it is this many widths deep.
DEEP = 1e5


def two_thirds(x: Tensor) -> Tensor:
    """Compute ``x**(2/3)`` by logarithm, which is several times as fast as ``pow``."""
    return torch.exp(torch.log(x.clamp(min=TINY)) * (2.0 / 3.0))


class Flow(NamedTuple):
    """Uniform flow in a section: tensors ``[rows]``."""

    #: Depth of the water above the bottom, m.
    depth: Tensor
    #: Width of the water surface, m.
    top_width: Tensor
    #: Manning's discharge, m3 s-1.
    discharge: Tensor
    #: Celerity of a flood wave, the derivative of discharge by wetted area, m s-1.
    celerity: Tensor


class Section(NamedTuple):
    """Cross sections, one per row: tensors ``[rows]``.

    Parameters
    ----------
    bottom : Tensor
        Width of the bottom, m.
    side : Tensor
        Run over rise of the banks.
    slant : Tensor
        Wetted length of one bank per metre of depth.
    bankfull : Tensor
        Depth at which the flood plains begin, m.
    bankfull_area : Tensor
        Wetted area at that depth, m2.
    top : Tensor
        Width of the channel at that depth, m.
    floodplain : Tensor
        Width of both flood plains, m; 0 where they are not wider than the channel.
    n, n_floodplain : Tensor
        Manning's roughness, s m-1/3.
    slope : Tensor
        Slope of the bed.
    """

    bottom: Tensor
    side: Tensor
    slant: Tensor
    bankfull: Tensor
    bankfull_area: Tensor
    top: Tensor
    floodplain: Tensor
    n: Tensor
    n_floodplain: Tensor
    slope: Tensor

    @classmethod
    def from_columns(cls, parameters: Mapping[str, Tensor], static: Mapping[str, Tensor]) -> Self:
        """Make sections from the hydrofabric's columns, :data:`PARAMETERS` and :data:`ATTRIBUTES`.

        As in the National Water Model, a channel as wide at the top as at the bottom is bankfull
        where its banks have widened by half that width, and one that narrows has no flood plains.
        """
        bottom, side = parameters["BtmWdth"], 1.0 / parameters["ChSlp"]
        spread = parameters["TopWdth"] - bottom
        bankfull = torch.where(spread > 0, spread / (2.0 * side), bottom / (2.0 * side))
        bankfull = torch.where(spread < 0, bottom * DEEP, bankfull)
        top = bottom + 2.0 * side * bankfull
        return cls(
            bottom=bottom,
            side=side,
            slant=torch.sqrt(1.0 + side * side),
            bankfull=bankfull,
            bankfull_area=(bottom + side * bankfull) * bankfull,
            top=top,
            floodplain=torch.relu(parameters["TopWdthCC"] - top),
            n=parameters["n"],
            n_floodplain=parameters["nCC"],
            slope=static["So"],
        )

    def area(self, depth: Tensor) -> Tensor:
        """Compute the wetted area in m2 at a depth in m."""
        inside = torch.minimum(depth, self.bankfull)
        above = depth - inside
        return (self.bottom + self.side * inside) * inside + (self.top + self.floodplain) * above

    def depth(self, area: Tensor) -> Tensor:
        """Compute the depth in m at a wetted area in m2."""
        inside, above = self._depths(area)
        return inside + above

    def discharge(self, depth: Tensor) -> Tensor:
        """Compute the discharge in m3 s-1 at a depth in m."""
        return self.flow(self.area(depth)).discharge

    def flow(self, area: Tensor) -> Flow:
        """Compute uniform flow at a wetted area in m2."""
        inside, above = self._depths(area)
        is_above = (above > 0).to(area.dtype)
        fall = torch.sqrt(self.slope)

        channel_width = self.bottom + 2.0 * self.side * inside
        channel_area = torch.minimum(area, self.bankfull_area) + self.top * above
        radius = channel_area / (self.bottom + 2.0 * self.slant * inside)
        speed = fall / self.n * two_thirds(radius)
        # d(A R^2/3)/dh = R^2/3 (5/3 dA/dh - 2/3 R dP/dh)
        rise = speed * (5.0 / 3.0 * channel_width - 4.0 / 3.0 * radius * self.slant * (1.0 - is_above))

        plain_radius = self.floodplain * above / (self.floodplain + 2.0 * above).clamp(min=TINY)
        plain_speed = fall / self.n_floodplain * two_thirds(plain_radius)
        plain_rise = plain_speed * (5.0 / 3.0 * self.floodplain - 4.0 / 3.0 * plain_radius) * is_above

        top_width = channel_width + self.floodplain * is_above
        return Flow(
            depth=inside + above,
            top_width=top_width,
            discharge=channel_area * speed + self.floodplain * above * plain_speed,
            celerity=(rise + plain_rise) / top_width,
        )

    def _depths(self, area: Tensor) -> tuple[Tensor, Tensor]:
        """Split the depth of a wetted area into that up to bankfull and that above it."""
        inside = torch.minimum(area, self.bankfull_area)
        above = (area - inside) / (self.top + self.floodplain)
        # The positive root of (bottom + side h) h = area, in the form that does not cancel.
        root = torch.sqrt(self.bottom * self.bottom + 4.0 * self.side * inside)
        return 2.0 * inside / (self.bottom + root), above
