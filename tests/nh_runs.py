"""Run folders of neuralhydrology, written by hand: configuration, weights and scaler of tiny models."""

import torch
import yaml

H = 5
DYNAMIC, STATIC, TARGET = ["prcp(mm/day)", "srad(W/m2)", "tmean(C)"], ["slope", "area"], "QObs(mm/d)"
CENTRES = {"prcp(mm/day)": 3.0, "srad(W/m2)": 250.0, "tmean(C)": 9.0, TARGET: 1.5}
SCALES = {"prcp(mm/day)": 7.0, "srad(W/m2)": 120.0, "tmean(C)": 8.0, TARGET: 2.0}
MEANS, STDS = {"slope": 40.0, "area": 300.0}, {"slope": 20.0, "area": 150.0}


def parts(model="cudalstm", head="regression", seed=0, **keys):
    """The configuration, the weights and the scaler of a run; `keys` are those of the configuration."""
    config = {
        "model": model,
        "head": head,
        "hidden_size": H,
        "seq_length": 7,
        "dynamic_inputs": [*DYNAMIC],
        "static_attributes": [*STATIC],
        "target_variables": [TARGET],
        "clip_targets_to_zero": [TARGET],
        "dataset": "camels_us",
        "output_dropout": 0.4,
        "epochs": 3,
        "optimizer": "Adam",
        "train_start_date": "01/10/1999",
        "package_version": "1.13.0",
        **keys,
    }
    return config, weights_of(config, seed), scaler()


def scaler():
    """Centres and scales as neuralhydrology dumps them."""

    def dataset(values):
        arrays = {name: {"dims": [], "attrs": {}, "data": value} for name, value in values.items()}
        return {"coords": {}, "attrs": {}, "dims": {}, "data_vars": arrays}

    return {
        "attribute_means": dict(MEANS),
        "attribute_stds": dict(STDS),
        "xarray_feature_scale": dataset(SCALES),
        "xarray_feature_center": dataset(CENTRES),
    }


def weights_of(config, seed=0):
    """Random weights in the shapes of a configuration without embeddings."""
    g = torch.Generator().manual_seed(seed)

    def drawn(*shape):
        return 0.6 * torch.randn(*shape, generator=g)

    dynamic, static = len(config["dynamic_inputs"]), len(config["static_attributes"])
    dynamic += config["head"] == "umal"
    static += config.get("number_of_basins", 0) if config.get("use_basin_id_encoding") else 0
    n = dynamic + static
    if config["model"] == "ealstm":
        weights = {
            "input_gate.weight": drawn(H, static),
            "input_gate.bias": drawn(H),
            "dynamic_gates.weight_ih": drawn(dynamic, 3 * H),
            "dynamic_gates.weight_hh": drawn(H, 3 * H),
            "dynamic_gates.bias": drawn(3 * H),
        }
    else:
        cell = config["model"] in ("customlstm", "lstm")
        names = ("w_ih", "w_hh", "b_ih", "b_hh")
        if not cell:
            names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        shapes = ((4 * H, n), (4 * H, H), (4 * H,), (4 * H,))
        prefix = "cell." if cell else "lstm."
        weights = {prefix + name: drawn(*shape) for name, shape in zip(names, shapes, strict=True)}
    if config["head"] == "regression":
        return weights | {"head.net.0.weight": drawn(1, H), "head.net.0.bias": drawn(1)}
    latent = {"gmm": 3, "cmal": 4, "umal": 2}[config["head"]] * config.get("n_distributions", 1)
    return weights | {
        "head.fc1.weight": drawn(100, H),
        "head.fc1.bias": drawn(100),
        "head.fc2.weight": drawn(latent, 100),
        "head.fc2.bias": drawn(latent),
    }


def write(folder, config, weights, scaler, epoch=3):
    """Write a run folder and return it."""
    (folder / "train_data").mkdir(parents=True, exist_ok=True)
    (folder / "config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (folder / "train_data" / "train_data_scaler.yml").write_text(yaml.safe_dump(scaler), encoding="utf-8")
    torch.save(weights, folder / f"model_epoch{epoch:03d}.pt")
    return folder
