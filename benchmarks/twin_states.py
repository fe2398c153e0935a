"""Twin experiment of assimilation: stores that are known, which analyses are to find again.

The truth is HBV of synthetic basins (dmg_bmi/synthetic/basins.py). Its twin has the same parameters, but sees
rain that is off by a random factor each day and begins with wrong stores; of the flow it sees 85 % of the
days, off by 5 %. Printed is the root mean squared error of stores at the times of analyses, and of forecasts
with the true weather, over that without observations (median of the basins). In the second part basins of
rivers with a few gauges are analysed after 36 hours of rain: printed is the error of flow, mean over reaches.

    python benchmarks/twin_states.py                      # about two minutes on one core
    python benchmarks/twin_states.py --picture twin.png
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from dmg_bmi import DeltaModel, RoutedModel, hydrofabric, routing_model
from dmg_bmi.forecast import Assimilation, analyse_routed
from dmg_bmi.forecast.cycle import Cycle
from dmg_bmi.model.routed_model import RoutedState
from dmg_bmi.synthetic import river_basin
from dmg_bmi.synthetic.basins import TRUTH, generate, true_parameters

SPIN_UP, LEADS, STORES = 365, 7, ("SNOWPACK", "SM", "SUZ", "SLZ")
#: Spreads of the logarithms of errors of daily rain, of stores at the begin, of flow; share of days seen.
RAIN, BEGIN, FLOW, SEEN = 0.4, 0.3, 0.05, 0.85
METHODS = ("variational", "ensemble", "particles")
HOUR, HOURS, RIVERS = 3600.0, 36, 5


class Twin:
    """The truth of some basins day by day, and what its twin sees of it."""

    def __init__(self, basins: int, days: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        data = generate(basins, 2 + days // 365, noise=0.0, seed=seed)
        truth = true_parameters(data.attributes)
        self.model = DeltaModel.build(
            phy_model={"name": "hbv", "betaet": True, "routing": 15}, fixed={name: name for name in TRUTH}
        ).eval()
        steps = SPIN_UP + days + LEADS
        self.rain = {n: torch.from_numpy(np.asarray(v[:steps])).double() for n, v in data.forcing.items()}
        with torch.inference_mode():
            self.constants = self.model.precompute({n: torch.from_numpy(v) for n, v in truth.items()}, basins)
            flow, self.states, state = [], [], self.model.init_state(basins)
            for k in range(steps):
                now = {name: values[k : k + 1] for name, values in self.rain.items()}
                fluxes, state = self.model.run(now, self.constants, state, ("Q",))
                flow.append(fluxes["Q"])
                self.states.append(state)
        self.flow = torch.cat(flow)
        self.issues = np.arange(SPIN_UP + 60, SPIN_UP + days)

        def factor(spread: float, *shape: int) -> torch.Tensor:
            return (spread * torch.randn(*shape, generator=generator).double() - spread**2 / 2).exp()

        self.measured = {**self.rain, "P": self.rain["P"] * factor(RAIN, *self.rain["P"].shape)}
        seen = torch.rand(self.flow.shape, generator=generator) < SEEN
        self.observed = torch.where(seen, self.flow * factor(FLOW, *self.flow.shape), torch.nan)
        self.wrong = {
            name: value * factor(BEGIN, *value.shape) if name.partition(".")[2] in STORES else value
            for name, value in self.states[SPIN_UP - 1].items()
        }

    def cycle(self, options: Assimilation) -> Cycle:
        """Return a cycle that begins with wrong stores after the spin-up."""
        observed = torch.where(torch.arange(len(self.flow))[:, None] >= SPIN_UP, self.observed, torch.nan)
        typical = self.flow[SPIN_UP:].mean(0)
        given = (self.measured, self.constants, self.wrong, observed, typical, options)
        return Cycle(self.model, *given, at=SPIN_UP)

    def scored(self, method: str | None) -> tuple[dict[str, np.ndarray], torch.Tensor]:
        """Return errors of stores and of forecasts ``[basins]``, and the lower zone ``[issues, basins]``."""
        cycle = self.cycle(Assimilation() if method is None else Assimilation(method=method))
        basins, off, lower = self.flow.shape[1], {}, []
        for some, before in cycle.blocks(self.issues):
            window = (cycle.open_loop if method is None else cycle.analysed)(some, before)
            weather = {n: v[some[:, None] + torch.arange(LEADS)].unsqueeze(2) for n, v in self.rain.items()}
            ahead = cycle.ahead(some, window.state, LEADS, weather).squeeze(2)
            for name in STORES:
                true = torch.stack([self.states[k - 1][f"phy.{name}"] for k in some.tolist()])
                found = window.state[f"phy.{name}"].reshape(true.shape)
                off.setdefault(name, []).append((found - true).square().flatten(2).mean(2))
                if name == "SLZ":
                    lower.append(found.reshape(-1, basins))
            for lead in (1, 3, 7):
                missed = ahead[:, lead - 1] - self.flow[some + lead - 1]
                off.setdefault(f"flow, {lead} d", []).append(missed.square())
        return {n: torch.cat(v).mean(0).sqrt().numpy() for n, v in off.items()}, torch.cat(lower)


def river(divides: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return errors of the flow of each reach before and after an analysis, and which have gauges."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "basin.gpkg"
        river_basin.generate(divides, area=25.0 * divides, seed=seed).write(path)
        fabric = hydrofabric.read(path)
    network, n = fabric.routable().attributes(), len(fabric.divides.ids)
    generator = torch.Generator().manual_seed(seed)
    runoff = DeltaModel.build(phy_model={"name": "hbv"}, fixed=_middle(), step=HOUR)
    model = RoutedModel(runoff, routing_model(substeps=1), fabric.divides).double().eval()
    rain = 5 * torch.rand(48 + HOURS, n, generator=generator).double() ** 4
    forcing = {"P": rain, "T": torch.full_like(rain, 12.0), "PET": torch.full_like(rain, 0.05)}
    wet = {"phy.SM": 300.0, "phy.SUZ": 5.0, "phy.SLZ": 20.0}
    state = RoutedState(
        {k: torch.full_like(v, wet.get(k, 0.0)) for k, v in runoff.init_state(n).items()},
        {"phy.storage": torch.full((n,), 2e4).double(), "phy.discharge": torch.ones(n).double()},
    )
    before, window = ({k: v[s] for k, v in forcing.items()} for s in (slice(48), slice(48, None)))
    common = 0.2 * torch.randn(3, 1, generator=generator).double()
    factor = (common + 0.2 * torch.randn(3, n, generator=generator).double()).exp()
    drained = network["upstream_area"]
    gauges = sorted(drained.argsort(descending=True)[[0, n // 8, n // 4, n // 3]].tolist())
    with torch.no_grad():
        _, state = model(before, {}, network, state)
        plain, _ = model(window, {}, network, state)
        moved = ("phy.SUZ", "phy.SLZ")
        true_state = RoutedState(
            {k: v * factor[1] if k in moved else v for k, v in state.runoff.items()},
            {k: v * factor[2] for k, v in state.routing.items()},
        )
        truth, _ = model({**window, "P": window["P"] * factor[0]}, {}, network, true_state)
    options = Assimilation(window=HOURS, ages=(6, 12), relative_error=0.05, mean_error=0.02, memory=1e3)
    observed, typical = truth[:, gauges], plain[:, gauges].mean(0)
    found = analyse_routed(model, window, {}, network, state, observed, gauges, typical, options)
    late = slice(HOURS // 2, None)
    errors = [(flow - truth)[late].square().mean(0).sqrt() / truth.mean(0) for flow in (plain, found.flow)]
    order = drained.argsort(descending=True)
    return *(e[order].numpy() for e in errors), [order.tolist().index(k) for k in gauges]


def _middle() -> dict[str, float]:
    from dmg_bmi.model.registry import build_process_model

    declared = build_process_model({"name": "hbv"}).declaration.parameters
    return {p.name: (p.lower + p.upper) / 2 for p in declared}


def main() -> None:
    """Run it, print tables, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--basins", type=int, default=20)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--divides", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.process_time()
    twin = Twin(given.basins, given.days, given.seed)
    plain, open_loop = twin.scored(None)
    print("| error over that without observations | " + " | ".join(plain) + " |")
    print("|---" * (1 + len(plain)) + "|")
    lower = {}
    for method in METHODS:
        errors, lower[method] = twin.scored(method)
        shares = (np.nanmedian(errors[n] / np.where(plain[n] > 0, plain[n], np.nan)) for n in plain)
        print(f"| {method} | " + " | ".join(f"{share:.2f}" for share in shares) + " |")
    rivers = [river(given.divides, given.seed + k) for k in range(RIVERS)]
    print("| reaches | error before, share of mean flow | after | less in |")
    print("|---|---|---|---|")
    for what, wanted in (("with a gauge", True), ("without", False)):
        pairs = [
            np.array([before, after])[:, [(k in gauges) == wanted for k in range(len(before))]]
            for before, after, gauges in rivers
        ]
        before, after = np.concatenate(pairs, axis=1)
        shares = (f"{np.sqrt(np.square(values).mean()):.3f}" for values in (before, after))
        print(f"| {what} | {' | '.join(shares)} | {(after < before).sum()} of {len(after)} |")
    print(f"{(time.process_time() - begun) / 60:.1f} CPU minutes")
    if given.picture:
        draw(given.picture, twin, open_loop, lower, rivers[0])


def draw(path, twin, open_loop, lower, rivers) -> None:
    """Draw the lower zone of the basin in the middle, and errors of reaches."""
    from dmg_bmi.plotting.hydrographs import BLACK, BLUE, GREY, pyplot, save
    from dmg_bmi.plotting.training import PALETTE

    plt = pyplot()
    figure, (above, below) = plt.subplots(2, 1, figsize=(10, 6.4), layout="constrained")
    true = torch.stack([twin.states[k - 1]["phy.SLZ"] for k in twin.issues]).flatten(1)
    basin = int((open_loop - true).square().mean(0).argsort()[true.shape[1] // 2])
    days = twin.issues - twin.issues[0]
    above.plot(days, open_loop[:, basin], color=GREY, linewidth=1.2, label="without observations")
    for k, (method, values) in enumerate(lower.items()):
        above.plot(days, values[:, basin], color=PALETTE[k % len(PALETTE)], linewidth=1.0, label=method)
    above.plot(days, true[:, basin], color=BLACK, linewidth=1.6, label="truth")
    above.set(xlim=(days[0], days[-1]), xlabel="day", ylabel="lower zone (mm)")
    above.legend(loc="lower right", frameon=False, bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0, ncols=5)
    before, after, gauges = rivers
    places = np.arange(len(before))
    below.bar(places - 0.2, before, 0.4, color=GREY, label="before the analysis")
    below.bar(places + 0.2, after, 0.4, color=BLUE, label="after")
    below.plot(gauges, np.maximum(before, after)[gauges] + 0.02, "v", color=BLACK, label="gauge")
    below.set(xlabel="reach, the largest first", ylabel="error over mean flow", xticks=[])
    below.legend(loc="lower right", frameon=False, bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0, ncols=3)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


if __name__ == "__main__":
    main()
