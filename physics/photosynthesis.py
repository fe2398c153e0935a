"""Photosynthesis of a C3 leaf: Farquhar, von Caemmerer & Berry (1980) with optimal stomata."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .contract import NO_PROCESSES, Declaration, Flux, Parameter, ProcessFunction, ProcessModel, State
from .forcings import CO2, PAR, T_LEAF, VPD

FARQUHAR = "Farquhar, von Caemmerer & Berry (1980), https://doi.org/10.1007/BF00386231"
BERNACCHI = "Bernacchi et al. (2001), https://doi.org/10.1111/j.1365-3040.2001.00668.x"
BERNACCHI_2003 = "Bernacchi et al. (2003), https://doi.org/10.1046/j.0016-8025.2003.01050.x"
MEDLYN_2002 = "Medlyn et al. (2002), https://doi.org/10.1046/j.1365-3040.2002.00891.x"
MEDLYN_2011 = "Medlyn et al. (2011), https://doi.org/10.1111/j.1365-2486.2010.02375.x"
LIN = "Lin et al. (2015), https://doi.org/10.1038/nclimate2550"
KATTGE = "Kattge & Knorr (2007), https://doi.org/10.1111/j.1365-3040.2007.01690.x"

#: Values at 25 degC in umol mol-1 (oxygen's constant in mmol mol-1), and activation energies in J mol-1.
KC25, KC_ENERGY = 404.9, 79430.0
KO25, KO_ENERGY = 278.4, 36380.0
GAMMA25, GAMMA_ENERGY = 42.75, 37830.0
VCMAX_ENERGY = 65330.0
JMAX_ENERGY = 43540.0
RD_ENERGY = 46390.0
#: Mole fraction of oxygen, mmol mol-1.
OXYGEN = 210.0
#: Share of the light on the leaf that drives electrons: absorptance, spectral losses, two photosystems.
LIGHT_USE = 0.85 * (1.0 - 0.15) / 2.0
#: Curvature of electron transport's response to light.
CURVATURE = 0.7
GAS_CONSTANT = 8.314462618
KELVIN = 273.15
#: The slope of the root of VPD is infinite at zero; air at a leaf is never this close to saturation.
DRIEST_FOG = 1e-3

PARAMETERS = (
    Parameter("Vcmax25", 5.0, 200.0, "umol m-2 s-1", "carboxylation capacity at 25 degC", KATTGE),
    Parameter("Jmax_ratio", 1.0, 3.0, "1", "Jmax25 over Vcmax25", MEDLYN_2002),
    Parameter("Rd_ratio", 0.005, 0.03, "1", "respiration over Vcmax25, both at 25 degC", FARQUHAR),
    Parameter("g1", 0.5, 10.0, "1", "stomatal slope with VPD in kPa", LIN),
)


class Photosynthesis(ProcessModel):
    """Net assimilation of a C3 leaf as the smaller of two rates, less respiration.

    ``Ac = Vcmax (Ci - G) / (Ci + Kc (1 + O/Ko))`` where Rubisco limits, ``Aj = J/4 (Ci - G) /
    (Ci + 2 G)`` where light does, with ``0.7 J**2 - (I + Jmax) J + I Jmax = 0`` (von Caemmerer,
    2000). Temperature acts by the functions of Bernacchi et al. (2001; Jmax: 2003) and the
    stomata by ``Ci = CO2 g1 / (g1 + sqrt(VPD))`` (Medlyn et al., 2011, with g0 = 0).

    A leaf keeps no state and conserves nothing; every step stands alone, of any length.
    """

    declaration = Declaration(
        name="photosynthesis",
        forcings=(PAR, T_LEAF, CO2, VPD),
        parameters=PARAMETERS,
        fluxes=(
            Flux("A_net", "umol m-2 s-1", "net assimilation of carbon dioxide"),
            Flux("A_rubisco", "umol m-2 s-1", "assimilation as Rubisco limits it"),
            Flux("A_light", "umol m-2 s-1", "assimilation as light limits it"),
            Flux("Rd", "umol m-2 s-1", "respiration in the light"),
            Flux("Ci", "umol mol-1", "mole fraction of carbon dioxide inside the leaf"),
        ),
        source=f"{FARQUHAR}; {BERNACCHI}; {BERNACCHI_2003}; {MEDLYN_2011}",
    )

    def step(
        self,
        forcing: Mapping[str, Tensor],
        state: State,
        parameters: Mapping[str, Tensor],
        static: Mapping[str, Tensor],
        dt: float,
        processes: Mapping[str, ProcessFunction] = NO_PROCESSES,
    ) -> tuple[State, dict[str, Tensor]]:
        """Compute assimilation from light, temperature, air and stomata."""
        kelvin = forcing["T_leaf"] + KELVIN
        vcmax25 = parameters["Vcmax25"]
        vcmax = vcmax25 * arrhenius(VCMAX_ENERGY, kelvin)
        jmax = parameters["Jmax_ratio"] * vcmax25 * arrhenius(JMAX_ENERGY, kelvin)
        respiration = parameters["Rd_ratio"] * vcmax25 * arrhenius(RD_ENERGY, kelvin)
        kc = KC25 * arrhenius(KC_ENERGY, kelvin)
        ko = KO25 * arrhenius(KO_ENERGY, kelvin)
        gamma = GAMMA25 * arrhenius(GAMMA_ENERGY, kelvin)

        g1 = parameters["g1"]
        ci = forcing["CO2"] * g1 / (g1 + torch.sqrt(forcing["VPD"].clamp(min=DRIEST_FOG)))
        rubisco = vcmax * (ci - gamma) / (ci + kc * (1.0 + OXYGEN / ko))
        light = electron_transport(forcing["PAR"], jmax) / 4.0 * (ci - gamma) / (ci + 2.0 * gamma)
        return {}, {
            "A_net": torch.minimum(rubisco, light) - respiration,
            "A_rubisco": rubisco,
            "A_light": light,
            "Rd": respiration,
            "Ci": ci,
        }


def arrhenius(energy: float, kelvin: Tensor) -> Tensor:
    """Compute the speed of a process of activation energy `energy` (J mol-1) relative to 25 degC."""
    reference = KELVIN + 25.0
    return torch.exp(energy / GAS_CONSTANT * (1.0 / reference - 1.0 / kelvin))


def electron_transport(par: Tensor, jmax: Tensor) -> Tensor:
    """Compute electron transport in umol m-2 s-1, the smaller root of its response to light."""
    absorbed = LIGHT_USE * par
    total = absorbed + jmax
    return (total - torch.sqrt(total**2 - 4.0 * CURVATURE * absorbed * jmax)) / (2.0 * CURVATURE)
