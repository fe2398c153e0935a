"""Every role in every process model where it applies."""

import torch

from dmg_bmi import DeltaModel, FeatureStatistics
from dmg_bmi.model.registry import PROCESS_MODELS, build_process_model

LSTM = {"name": "lstm", "hidden_size": 5}
MLP = {"name": "mlp", "hidden_sizes": [6]}
STATISTICS = {
    "P": FeatureStatistics(-0.3, 0.3, "log_sqrt", "mm"),
    "T": FeatureStatistics(4.0, 9.0, units="degC"),
    "PET": FeatureStatistics(2.0, 2.0, units="mm"),
    "Q": FeatureStatistics(0.2, 0.4, "log_sqrt", "mm"),
    **{
        store: FeatureStatistics(100.0, 100.0, units="mm")
        for store in ("SM", "SUZ", "SLZ", "S", "SMS", "water")
    },
}
PARAMETERS = {"network": "given", "attributes": ["slope"]}


def catchment(name, nmul=2):
    routed = any(f.name == "Q" for f in build_process_model({"name": name}).declaration.fluxes)
    return {"name": name, "nmul": nmul, **({"routing": 5} if routed else {})}


def build(roles, models, networks=None, seed=0):
    """A model in float64, its weights spread so that rows and steps differ."""
    keys = [role["network"] for role in roles]
    torch.manual_seed(seed)
    model = DeltaModel.build(
        nn={key: (networks or {}).get(key, MLP) for key in keys},
        phy_model=models,
        roles=roles,
        statistics=STATISTICS,
    )
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2.0)
    return model.double().eval()


def cases():
    """Every role in every process model where it applies, by name: roles, models, networks."""
    found = {}
    for name in PROCESS_MODELS:
        declared = build_process_model({"name": name}).declaration
        models = {"phy": catchment(name)}
        seen = [f.name for f in declared.forcings]
        for process in declared.processes:
            for network in (LSTM, MLP):
                role = {"role": "process", "process": process, "network": "inside", "attributes": ["slope"]}
                found[f"{name}-{process}-{network['name']}"] = (
                    [PARAMETERS, role],
                    models,
                    {"inside": network},
                )
        corrected = {n: [0.6, 1.5] for n in seen}
        added = {"role": "correct_input", "how": "add", "corrects": {seen[0]: [-2.0, 3.0]}, "network": "in"}
        found[f"{name}-correct-input"] = (
            [PARAMETERS, {"role": "correct_input", "corrects": corrected, "inputs": seen, "network": "in"}],
            models,
            {"in": LSTM},
        )
        mixes = {seen[0]: [f"{seen[0]}_next"], seen[-1]: [f"{seen[-1]}_a", f"{seen[-1]}_b"]}
        mixed = {"role": "mix_input", "mixes": mixes, "inputs": seen, "network": "in"}
        found[f"{name}-mix-input"] = ([PARAMETERS, mixed], models, {"in": LSTM})
        found[f"{name}-add-input"] = ([PARAMETERS, {**added, "attributes": ["slope"]}], models, {})
        taken = {n for b in declared.balances for n in b.exchange}
        fluxes = {f.name: [0.5, 2.0] for f in declared.fluxes if f.name not in taken}
        found[f"{name}-correct-output"] = (
            [PARAMETERS, {"role": "correct_output", "corrects": fluxes, "inputs": seen, "network": "out"}],
            models,
            {"out": LSTM},
        )
        mixed = {"role": "mix_output", "outputs": [*fluxes], "inputs": seen, "network": "out", "share": 0.3}
        found[f"{name}-mix-output"] = ([PARAMETERS, mixed], models, {"out": LSTM})
    return found | ensembles() | {"network-alone": ([ALONE], None, {"nn": LSTM})}


ALONE = {
    "role": "output",
    "inputs": ["P", "T"],
    "attributes": ["slope"],
    "outputs": ["Q", "NEE"],
    "network": "nn",
}


def ensembles():
    declared = {name: build_process_model({"name": name}).declaration for name in PROCESS_MODELS}
    names = [n for n, d in declared.items() if any({"Q", "ET"} <= {*b.out} for b in d.balances)]
    models = {name: catchment(name) for name in names}
    each = [{"network": f"of_{n}", "attributes": ["slope", "clay"], "model": n} for n in names]
    static = {"role": "weights", "attributes": ["clay"], "network": "w"}
    corrected = {
        "role": "correct_input",
        "corrects": {"P": [0.5, 1.5]},
        "attributes": ["clay"],
        "network": "c",
        "model": names[0],
    }
    mixed = {
        "role": "mix_output",
        "outputs": ["Q"],
        "inputs": ["P", "T"],
        "attributes": ["clay"],
        "share": 0.2,
    }
    return {
        "ensemble-static": ([*each, static], models, {}),
        "ensemble-corrected": ([*each, corrected, static], models, {}),
        "ensemble-mixed": (
            [*each, static, {**mixed, "network": "one"}, {**mixed, "network": "other", "inputs": ["T"]}],
            models,
            {"one": LSTM},
        ),
        "ensemble-dynamic": ([*each, {**static, "inputs": ["P", "T"]}], models, {"w": LSTM}),
        "models-side-by-side": (each, models, {}),
    }


CASES = cases()
