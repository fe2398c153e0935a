"""Seconds that the public hydrodl2 and dmg take; run by `speed.py` in their own environment.

Prints one JSON object. 100 basins, 730 days, 16 components, HBV 1.0 with two parameters that change
in time; the training step has an LSTM of 256 and a year of warm-up. One thread, processor time.
"""

import json
import sys
import time

import torch

BASINS, DAYS, NMUL, DYNAMIC = 100, 730, 16, ["parBETA", "parBETAET"]


def best(function, repeats):
    """Least processor time of some calls, after one that is not counted."""
    function()
    seconds = []
    for _ in range(repeats):
        begin = time.process_time()
        function()
        seconds.append(time.process_time() - begin)
    return min(seconds)


def phy(warmup):
    return {
        "name": ["Hbv"],
        "dynamic_params": {"Hbv": DYNAMIC},
        "nmul": NMUL,
        "routing": True,
        "warmup": warmup,
        "warmup_states": bool(warmup),
        "nearzero": 0.00001,
        "forcings": ["prcp", "tmean", "pet"],
    }


def weather():
    shape = (DAYS, BASINS)
    return torch.stack([8 * torch.rand(shape), 5 + 8 * torch.randn(shape), 3 * torch.rand(shape)], -1)


def physics():
    import hydrodl2

    x, raw = weather(), torch.randn(DAYS, BASINS, 13 * NMUL + 2)
    result = {}
    for warmup, name in ((0, "backward"), (365, "backward without spin-up")):
        model = hydrodl2.load_model("Hbv")(phy(warmup), device=torch.device("cpu"))

        def forward(model=model):
            with torch.no_grad():
                model({"x_phy": x}, raw)

        def both(model=model):
            given = raw.clone().requires_grad_()
            model({"x_phy": x}, given)["streamflow"].square().mean().backward()

        if not warmup:
            result["forward"] = best(forward, 3)
        result[name] = best(both, 1)
    return result


def training():
    from dmg.models.delta_models.dpl_model import DplModel

    config = {
        "rho": 365,
        "warmup": 365,
        "phy": phy(365),
        "nn": {
            "name": "LstmModel",
            "hidden_size": 256,
            "dropout": 0.0,
            "forcings": ["prcp", "tmean", "pet"],
            "attributes": [f"a{k}" for k in range(28)],
            "cache_states": False,
        },
    }
    model = DplModel(config=config, device="cpu")
    x = weather()
    shown = torch.cat([x, torch.rand(BASINS, 28).expand(DAYS, -1, -1)], -1)
    optimiser = torch.optim.Adadelta(model.parameters())

    def step():
        optimiser.zero_grad()
        flow = model({"x_phy": x, "xc_nn_norm": shown})["streamflow"]
        flow.square().mean().backward()
        optimiser.step()

    return {"training": best(step, 1)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(json.dumps(physics() if sys.argv[1] == "hydrodl2" else training()))
