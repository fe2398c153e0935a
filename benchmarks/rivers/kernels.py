"""What the two kernels do to a small wave and to storms, and how exact hydrographs are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from dmg_bmi.physics.routing.channel import Section
from dmg_bmi.physics.routing.muskingum_cunge import MuskingumCunge
from dmg_bmi.physics.routing.network import river_static
from rivers.networks import Inputs, from_file, route, settled, storm
from torch import Tensor


def difference(path: Path) -> None:
    """What the kernels do to a small wave, and to storms from within banks to far over them."""
    wave()
    network, inputs = from_file(path)
    outlet = int(np.argmax(network.level))
    leaving = torch.from_numpy(network.downstream == len(network))
    print("storm     over banks  kernel        peak m3/s  at hour  velocity m/s  inflow unaccounted for")
    for depth in (0.2, 2.0, 12.0, 50.0):
        base = 0.02 if depth > 1 else 0.005
        dry = (base * inputs[2] * 1e3 / 3600).expand(192, -1)
        lateral = torch.cat([storm(inputs[2], 48, depth, base), dry])
        for kernel in ("conservative", "nwm"):
            model = MuskingumCunge(kernel=kernel)
            with torch.inference_mode():
                fluxes, end = route(model, lateral, inputs, start := settled(model, dry[0], inputs))
            section, length = Section.from_columns(*inputs[:2]), inputs[1]["Length_m"]
            held = [
                s["storage"] if "storage" in s else section.area(s["depth"]) * length for s in (start, end)
            ]
            entered, left = fluxes["lateral"].sum(), fluxes["outflow"][:, leaving].sum()
            lost = entered - left - (held[1] - held[0]).sum()
            flow = fluxes["outflow"][:, outlet] / 3600
            over = (fluxes["depth"].amax(0) > section.bankfull).double().mean()
            peak = int(flow.argmax())
            print(
                f"{depth:5.1f} mm {over:11.0%}  {kernel:13} {flow[peak]:9.1f} {peak:8d} "
                f"{fluxes['velocity'][peak, outlet]:13.2f} {lost / entered:11.1e}",
                flush=True,
            )


def wave() -> None:
    """Hours that a small wave takes through ten reaches of 4 km, against length over celerity."""
    print("flow m3/s  slope   kinematic wave  conservative    nwm   hours through 40 km")
    hours = torch.arange(96, dtype=torch.float64)
    for flow, slope in ((0.5, 0.005), (2.0, 0.005), (2.0, 0.001), (0.5, 0.03)):
        rows = 11
        lake = torch.arange(rows) == 0
        columns = {"n": 0.05, "nCC": 0.1, "BtmWdth": 8.0, "TopWdth": 9.0, "TopWdthCC": 27.0, "ChSlp": 0.8}
        columns |= {"Length_m": 4000.0, "So": slope}
        tensors = {name: torch.full((rows,), value, dtype=torch.float64) for name, value in columns.items()}
        inputs = (tensors, {**tensors, **river_static(torch.arange(1, rows + 1), lake)}, torch.empty(rows))
        lateral = torch.zeros(len(hours), rows, dtype=torch.float64)
        lateral[:, 0] = flow * (1 + 0.1 * torch.exp(-(((hours - 24) / 6) ** 2)))
        area = torch.linspace(1e-3, 30.0, 100_001, dtype=torch.float64)
        uniform = Section(*(part[:1] for part in Section.from_columns(*inputs[:2]))).flow(area)
        celerity = uniform.celerity[int((uniform.discharge < flow).sum())]
        delays = []
        for kernel in ("conservative", "nwm"):
            model = MuskingumCunge(kernel=kernel)
            with torch.inference_mode():
                _, start = route(model, lateral[:1].expand(500, -1), inputs)
                left = route(model, lateral, inputs, start)[0]["outflow"][:, -1] / 3600
            centres = [(hours * (y - y[0])).sum() / (y - y[0]).sum() for y in (left, lateral[:, 0])]
            delays.append(centres[0] - centres[1])
        print(f"{flow:9.1f}  {slope:5.3f} {40000 / celerity / 3600:16.1f} {delays[0]:13.1f} {delays[1]:6.1f}")


def in_pieces(inputs: Inputs, metres: float) -> tuple[Inputs, Tensor]:
    """The same network of reaches no longer than this, and the row of each reach's last piece."""
    parameters, static, area = inputs
    count = (static["Length_m"] / metres).ceil().to(torch.int64)
    last = count.cumsum(0) - 1
    below = torch.arange(1, int(count.sum()) + 1)
    beyond = torch.cat([last - count + 1, count.sum().reshape(1)])
    below[last] = beyond[static["downstream"]]

    def each(values: Tensor) -> Tensor:
        return values.repeat_interleave(count)

    pieces = {"Length_m": each(static["Length_m"] / count), "So": each(static["So"])}
    lake = each(static["lake"]) if "lake" in static else None
    return (
        {name: each(values) for name, values in parameters.items()},
        {**pieces, **river_static(below, lake)},
        each(area / count),
    ), last


def accuracy(path: Path) -> None:
    """Hydrographs of every reach against those of reaches in pieces of 250 m and sub-steps of a minute."""
    _, (parameters, static, area) = from_file(path)
    inputs: Inputs = (parameters, {**static, "So": static["So"].clamp(min=1e-3)}, area)
    fine, last = in_pieces(inputs, 250.0)

    def hydrographs(inputs: Inputs, substeps: int) -> Tensor:
        model = MuskingumCunge(substeps=substeps)
        dry = (0.02 * inputs[2] * 1e3 / 3600).expand(72, -1)
        lateral = torch.cat([storm(inputs[2], 48), dry])
        with torch.inference_mode():
            return route(model, lateral, inputs, settled(model, dry[0], inputs))[0]["outflow"] / 3600

    outlet = int(hydrographs(inputs, 1).sum(0).argmax())
    truth = hydrographs(fine, 60)[:, last]
    print(f"{len(area)} reaches against {len(fine[2])} pieces; error as share of the standard deviation")
    for substeps in (1, 4, 12, 60):
        found = hydrographs(inputs, substeps)
        error = ((found - truth) ** 2).mean(0).sqrt() / truth.std(0)
        peak = found.amax(0) / truth.amax(0) - 1
        print(
            f"{substeps:3d} sub-steps an hour: outlet {error[outlet]:.3f}, peak {peak[outlet]:+.3f}; "
            f"reaches {error.median():.3f} (median), {error.quantile(0.9):.3f} (90 %)",
            flush=True,
        )
