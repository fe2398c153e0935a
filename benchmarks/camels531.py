"""The protocol of Kratzert et al. (2019) and Feng et al. (2022): 531 basins of CAMELS-US.

    python benchmarks/camels531.py CAMELS_FOLDER --basins 531_basin_list.txt [--output runs/camels531]
        [--forcing daymet] [--models static dynamic lstm] [--seeds 0] [--device cuda]

Trained on 1999-10 to 2008-09, scored on 1989-10 to 1999-09. The list, one id a line, comes with
neuralhydrology (examples/06-Finetuning); without it all basins of the forcing folder that have every
attribute are taken. A run folder per model and seed lies below --output; a finished one is read
back, and one that was stopped goes on. Ends with tables in Markdown and the published figures.

To see every part of it work, on whatever basins there are:

    python benchmarks/camels531.py CAMELS_FOLDER --forcing nldas --short
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from skill import configured, flow, medians, scored, tested, trained

from dmg_bmi.training import TrainingConfig

PROTOCOL = (
    "periods.train=[1999-10-01, 2008-09-30]",
    "periods.test=[1989-10-01, 1999-09-30]",
    "training.batch_size=100",
    "training.seq_length=730",
    # 50 epochs as hydroDL counts them: an epoch has seen each day with a probability of 99 %.
    "training.max_steps=11000",
    "training.learning_rate=0.001",
    "training.ema=0.002",
    "training.validate_every=500",
    "training.ensemble=1",
)
HBV = "model.phy_model={name: hbv, betaet: true, nmul: 16, routing: 15}"
SLOW = "slow: {name: mlp, hidden_sizes: [256, 256]}"
MODELS: Mapping[str, Sequence[str]] = {
    "static": (f"model.nn={{{SLOW}}}", HBV, "model.roles=[{network: slow}]"),
    "dynamic": (
        f"model.nn={{{SLOW}, fast: {{name: lstm, hidden_size: 256, dropout: 0.5}}}}",
        HBV,
        "model.roles=[{network: slow}, {network: fast, inputs: [P, T, PET], dynamic: [BETA, BETAET]}]",
    ),
    "lstm": (
        "model.nn={name: lstm, hidden_size: 256, dropout: 0.4}",
        "model.phy_model={}",
        "model.roles=[{role: output, inputs: [P, T, PET, SRAD, VP, daylength], outputs: [Q]}]",
    ),
}
#: Every part at work, nothing learned.
SHORT = ("training.max_steps=2", "training.batch_size=4", "training.seq_length=400")
PUBLISHED = """
| published median of test NSE | basins and periods | forcing | NSE |
|---|---|---|---|
| LSTM, Kratzert et al. (2019) | as here | Maurer | 0.731 |
| LSTM, mean flow of an ensemble, Kratzert et al. (2019) | as here | Maurer | 0.758 |
| HBV with networks, Feng et al. (2022) | 671 basins, other periods | Daymet | 0.732 |
| LSTM, Feng et al. (2022) | 671 basins, other periods | Daymet | 0.748 |
| HBV with networks, Feng et al. (2022) | 671 basins, other periods | NLDAS | 0.715 |
| LSTM, Feng et al. (2022) | 671 basins, other periods | NLDAS | 0.722 |

https://doi.org/10.5194/hess-23-5089-2019, https://doi.org/10.1029/2022WR032404 (abstract)
"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("camels", type=Path, help="folder in the layout of CAMELS-US")
    parser.add_argument("--basins", type=Path, help="file with an id a line")
    parser.add_argument("--output", type=Path, default=Path("runs/camels531"), help="where run folders lie")
    parser.add_argument("--forcing", default="daymet", help="daymet, nldas or maurer")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=[*MODELS])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--short", action="store_true", help="two tiny steps of each, to see it work")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    given = parser.parse_args(arguments)
    # Only Daymet's files have a daily range of temperature.
    pet = "hargreaves" if given.forcing == "daymet" else "priestley_taylor"
    data = [f"data.forcing={given.forcing}", f"data.pet={pet}", f"training.device={given.device}"]
    common = [*PROTOCOL, *data, *(SHORT if given.short else ()), *given.overrides]
    if given.basins is not None:
        basins = tuple(given.basins.read_text(encoding="utf-8").split())
    else:
        config = TrainingConfig.read("camels", [*common, f"data.path={given.camels}"])
        basins = config.data.read().ids
    dataset = configured(given.camels, ["camels", *common], 0, basins).data.read()
    seeds = []
    for seed in given.seeds:
        flows = {}
        for name in given.models:
            config = configured(given.camels, ["camels", *MODELS[name], *common], seed, basins)
            flows[name] = flow(trained(config, given.output / f"{name}-{seed}"), dataset, config)
        seeds.append(flows)
    print(f"\n{len(basins)} basins, forcing {given.forcing}\n")
    print(medians(scored(seeds, tested(dataset, config)[1]), given.seeds), PUBLISHED, sep="\n")


if __name__ == "__main__":
    main()
