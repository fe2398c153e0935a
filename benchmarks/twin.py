"""Twin experiment: runoff made by parameters that are known, which training is to find again.

The truth is HBV whose parameters are smooth functions of basin attributes (dmg_bmi/synthetic/basins.py). A
network that sees the attributes is trained on the runoff alone, of two thirds of the basins. Printed is
for each parameter the correlation between what was learned and the truth, over the other third, beside
what the runoff can tell of it: the NSE between the true runoff and that with this parameter alone put to
its mean over all basins. Where that is nearly 1 no runoff could identify the parameter.

    python benchmarks/twin.py                 # about three minutes on one core
    python benchmarks/twin.py --steps 20      # a look
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from dmg_bmi import DeltaModel
from dmg_bmi.synthetic.basins import TRUTH, _runoff, generate, true_parameters
from dmg_bmi.training.config import Training
from dmg_bmi.training.data import statistics, tensors
from dmg_bmi.training.evaluate import predict
from dmg_bmi.training.metrics import per_basin
from dmg_bmi.training.trainer import fit

SPIN_UP = 365
SHOWN = ("elev_mean", "area", "aridity", "frac_forest", "clay_frac")
#: Correlation of a parameter that was found; and the NSE above which runoff tells next to nothing of one.
FOUND, BLIND = 0.8, 0.99


def main() -> None:
    """Run it and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--basins", type=int, default=150)
    parser.add_argument("--years", type=int, default=6)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(given.seed)
    dataset = generate(given.basins, given.years, noise=0.0, seed=given.seed)
    known, others = np.split(np.arange(given.basins), [2 * given.basins // 3])
    model = DeltaModel.build(
        nn={"name": "mlp", "hidden_sizes": [32, 32]},
        phy_model={"name": "hbv", "betaet": True, "routing": 15},
        roles=[{"attributes": SHOWN}],
        statistics=statistics(dataset, SHOWN, known),
    )
    options = Training(
        max_steps=given.steps, batch_size=given.batch, loss={"nse": 0.5, "log_mse": 0.5}, seed=given.seed
    )
    begun = time.process_time()
    fit(
        model,
        tensors(dataset, model.forcing_names, model.attribute_names, ["Q"], columns=known),
        options,
        window=SPIN_UP + 365,
        spin_up=SPIN_UP,
    )
    minutes = (time.process_time() - begun) / 60
    held_out = dataset.columns(list(others))
    skill = per_basin(predict(model, held_out)["Q"][SPIN_UP:], held_out.target["Q"][SPIN_UP:])["NSE"]
    print(
        f"{len(known)} basins, {given.steps} steps, {minutes:.1f} min of one core; "
        f"NSE of the other {len(others)}: median {np.median(skill):.3f}, lowest {skill.min():.3f}\n"
    )
    print("| parameter | correlation | error, share of the bounds | NSE with its mean | |")
    print("|---|---|---|---|---|")
    for line in table(model, held_out):
        print(line)


def table(model, dataset):
    """One line a parameter, the best known first."""
    truth = true_parameters(dataset.attributes)
    data = tensors(dataset, model.forcing_names, model.attribute_names, ())
    with torch.no_grad():
        found = model.learned_parameters(data.forcing, data.attributes)
    rows = []
    for parameter in model.process_models["phy"].declaration.parameters:
        if parameter.name not in TRUTH:
            continue
        learned, true = found[f"phy.{parameter.name}"].reshape(-1).numpy(), truth[parameter.name]
        correlation = np.corrcoef(learned, true)[0, 1]
        error = np.sqrt(np.mean((learned - true) ** 2)) / (parameter.upper - parameter.lower)
        rows.append((parameter.name, correlation, error, without(parameter.name, dataset, truth)))
    for name, correlation, error, told in sorted(rows, key=lambda row: -row[1]):
        hidden = "cannot be identified: runoff hardly shows it" if told > BLIND else "others make up for it"
        verdict = "" if correlation > FOUND else hidden
        yield f"| {name} | {correlation:.2f} | {error:.2f} | {told:.3f} | {verdict} |"


def without(name, dataset, truth):
    """Median NSE of the true runoff against that with one parameter at its mean."""
    changed = {**truth, name: np.full_like(truth[name], truth[name].mean())}
    runoff = [_runoff(dataset.forcing, parameters, 1.0)[SPIN_UP:] for parameters in (changed, truth)]
    return float(np.median(per_basin(*runoff)["NSE"]))


if __name__ == "__main__":
    main()
