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


# -- the multi-timescale model of dhbv2 ------------------------------------------------------

PAIR_ATTRIBUTES, ROUTING_ATTRIBUTES = ["a", "b"], ["a", "c", "length"]


def pair_config(hourly="Hbv_2_1_hourly", dynamic=("BETA", "K0"), days=5, nmul=2, routing=False):
    """Its configuration, in the dialect of dhbv2."""
    forcings = ["P", "T", "PET"]
    names = [f"par{name}" for name in dynamic]

    def phy(name, **more):
        return {
            "name": [name], "nmul": nmul, "dynamic_params": {name: [*names]}, "routing": False,
            "nearzero": 1e-5, "dy_drop": 0.0, "warm_up_states": True, "forcings": [*forcings],
            "attributes": [], **more,
        }  # fmt: skip

    def nn(name, hidden, mlp, **more):
        return {
            "name": name, "lstm_hidden_size": hidden, "mlp_hidden_size": mlp, "lstm_dropout": 0.1,
            "mlp_dropout": 0.1, "forcings": [*forcings], "attributes": [*PAIR_ATTRIBUTES], **more,
        }  # fmt: skip

    hif = phy(
        hourly, window_size=336, train_warmup=168, agg_timescale_dim=[0, 2], train_spatial_chunk_size=65536,
        simulate_spatial_chunk_size=10000, simulate_temporal_chunk_size=168,
    )  # fmt: skip
    hif["routing"] = routing
    more = {"mlp2_hidden_size": 4, "mlp2_dropout": 0.1, "attributes2": [*ROUTING_ATTRIBUTES]}
    return {
        "multimodel_type": "none",
        "model": {
            "rho": 365, "warm_up": 0, "use_log_norm": [],
            "phy": {"name": ["Hbv_2_mts"], "hif_model": hif, "lof_model": phy("Hbv_2", window_size=days)},
            "nn": {
                "sub_batch_size": 100,
                "hif_model": nn("LstmMlp2Model", 7, 5, **more),
                "lof_model": nn("LstmMlpModel", 6, 9),
            },
        },
    }  # fmt: skip


def pair_statistics():
    """Its statistics, in the format of dhbv2."""
    return {
        "mean": {
            "dyn_input": [0.1, 10.0, 0.12], "dyn_input_daily": [3.0, 10.0, 3.0],
            "static_input": [1.0, 5.0], "rout_static_input": [1.3, 2.0, 40.0],
        },
        "std": {
            "dyn_input": [0.6, 9.0, 0.1], "dyn_input_daily": [7.0, 9.0, 2.0],
            "static_input": [0.5, 3.0], "rout_static_input": [0.6, 1.0, 30.0],
        },
        "norm_dyn_indexes": [],
        "use_norm_target": False,
    }  # fmt: skip


def pair_weights(hourly="Hbv_2_1_hourly", dynamic=2, nmul=2):
    """Its weights, by the names and shapes of dhbv2."""
    torch.manual_seed(5)
    static = 16 - dynamic
    shapes = {}
    for prefix, hidden in (("lstm_mlp.", 6), ("lstm_mlp2.", 7)):
        shapes |= {f"{prefix}in_proj.weight": (hidden, 5), f"{prefix}in_proj.bias": (hidden,)}
        for part in ("ih", "hh"):
            shapes[f"{prefix}lstm_inv.weight_{part}_l0"] = (4 * hidden, hidden)
            shapes[f"{prefix}lstm_inv.bias_{part}_l0"] = (4 * hidden,)
        shapes[f"{prefix}linear_out.weight"] = (dynamic * nmul, hidden)
        shapes[f"{prefix}linear_out.bias"] = (dynamic * nmul,)
    for prefix, widths in (
        ("lstm_mlp.ann.", (2, 9, 9, 9, static * nmul)),
        ("lstm_mlp2.ann1.", (2, 5, 5, 5, (static + 3) * nmul)),
        ("lstm_mlp2.ann2.", (3, 4, 4, 4, 3)),
    ):
        for k in range(4):
            shapes[f"{prefix}{3 * k}.weight"] = (widths[k + 1], widths[k])
            shapes[f"{prefix}{3 * k}.bias"] = (widths[k + 1],)
    for name in ("h_transfer", "c_transfer"):
        shapes |= {f"{name}.weight": (7, 6), f"{name}.bias": (7,)}
    return {f"nn_model.{name}": torch.randn(shape) for name, shape in shapes.items()}


def write_pair(folder, config=None, weights=None, statistics=None):
    """A model folder of dhbv2's multi-timescale model."""
    folder.mkdir(exist_ok=True)
    torch.save(pair_weights() if weights is None else weights, folder / "hbv_2_mts_ep30.pt")
    text = json.dumps(pair_statistics() if statistics is None else statistics)
    (folder / "normalization_statistics.json").write_text(text)
    (folder / "config.yaml").write_text(yaml.safe_dump(pair_config() if config is None else config))
    return folder
