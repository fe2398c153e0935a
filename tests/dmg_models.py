"""Model directories as dmg leaves them, made by hand."""

import json

import torch
import yaml

FORCINGS, ATTRIBUTES = ["prcp", "tmean", "pet", "srad"], ["slope", "clay"]
STATISTICS = {
    "prcp": [0.0, 8.0, -0.3, 0.35],
    "tmean": [-5.0, 20.0, 6.0, 9.0],
    "pet": [0.2, 5.0, 2.2, 1.8],
    "srad": [80.0, 350.0, 210.0, 95.0],
    "slope": [2.0, 60.0, 25.0, 20.0],
    "clay": [5.0, 40.0, 20.0, 10.0],
}
BOUNDS = {
    "BETA": (1, 6),
    "FC": (50, 1000),
    "K0": (0.05, 0.9),
    "K1": (0.01, 0.5),
    "K2": (0.001, 0.2),
    "LP": (0.2, 1),
    "PERC": (0, 10),
    "UZL": (0, 100),
    "TT": (-2.5, 2.5),
    "CFMAX": (0.5, 10),
    "CFR": (0, 0.1),
    "CWH": (0, 0.2),
    "BETAET": (0.3, 5),
    "C": (0, 1),
    "RT": (0, 20),
    "AC": (0, 2500),
    "route_a": (0, 2.9),
    "route_b": (0, 6.5),
}
NAMES = [*BOUNDS][:16]
H, NMUL = 7, 2


def lstm_weights(prefix, n_outputs):
    n_inputs = len(FORCINGS) + len(ATTRIBUTES)
    shapes = {
        "linear_in.weight": (H, n_inputs),
        "linear_in.bias": (H,),
        "lstm.w_ih": (4 * H, H),
        "lstm.w_hh": (4 * H, H),
        "lstm.b_ih": (4 * H,),
        "lstm.b_hh": (4 * H,),
        "linear_out.weight": (n_outputs, H),
        "linear_out.bias": (n_outputs,),
    }
    return {prefix + name: torch.randn(shape) for name, shape in shapes.items()}


def mlp_weights(n_outputs):
    sizes = {"i2h": (H, len(ATTRIBUTES)), **{f"h2h{i}": (H, H) for i in range(1, 7)}, "h2o": (n_outputs, H)}
    weights = {f"nn_model.ann.{name}.weight": torch.randn(shape) * 0.6 for name, shape in sizes.items()}
    return weights | {f"nn_model.ann.{name}.bias": torch.randn(shape[0]) for name, shape in sizes.items()}


def parts(phy="Hbv_1_1p", dynamic=("K0", "BETA"), routing=True):
    """Configuration, weights, statistics of a model directory."""
    torch.manual_seed(3)
    count = {"Hbv": 13 if "BETAET" in dynamic else 12, "Hbv_1_1p": 14, "Hbv_2": 16}[phy]
    n_routing = 2 if routing else 0
    if phy == "Hbv_2":
        nn = {"name": "LstmMlpModel", "lstm_hidden_size": H, "mlp_hidden_size": H}
        weights = lstm_weights("nn_model.lstminv.", len(dynamic) * NMUL)
        weights |= mlp_weights((count - len(dynamic)) * NMUL + n_routing)
    else:
        nn = {"name": "CudnnLstmModel", "hidden_size": H}
        weights = lstm_weights("nn_model.", count * NMUL + n_routing)
    config = {
        "multimodel_type": None,
        "model": {
            "rho": 300,
            "warmup": 100,
            "use_log_norm": ["prcp"],
            "phy": {
                "name": [phy],
                "nmul": NMUL,
                "routing": routing,
                "dynamic_params": {phy: [f"par{name}" for name in dynamic]},
                "forcings": ["prcp", "tmean", "pet"],
            },
            "nn": {**nn, "forcings": FORCINGS, "attributes": ATTRIBUTES},
        },
    }
    return config, weights, dict(STATISTICS)


def write(folder, config, weights, statistics, epoch=5):
    folder.mkdir(exist_ok=True)
    phy = config["model"]["phy"]["name"][0]
    torch.save(weights, folder / f"{phy.lower()}_ep{epoch}.pt")
    (folder / "normalization_statistics.json").write_text(json.dumps(statistics))
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder
