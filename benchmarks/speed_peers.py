"""Seconds that the public hydrodl2, dmg and dhbv2 take; run by `speed.py` in their own environment.

Prints one JSON object. 100 basins, 730 days, 16 components, HBV 1.0 with two parameters that change
in time; the training step has an LSTM of 256 and a year of warm-up. dhbv2's is the BMI of one catchment in
the published shape: LSTM 64, static MLP 4096, HBV 2.0 with four components. One thread, processor time.
"""

import json
import os
import sys
import tempfile
import time

import torch

BASINS, DAYS, NMUL, DYNAMIC = 100, 730, 16, ["parBETA", "parBETAET"]


def best(function, repeats, clock=time.process_time):
    """Least time of some calls, after one that is not counted."""
    function()
    seconds = []
    for _ in range(repeats):
        begin = clock()
        function()
        seconds.append(clock() - begin)
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


def weather(device="cpu"):
    shape = (DAYS, BASINS)
    series = torch.stack([8 * torch.rand(shape), 5 + 8 * torch.randn(shape), 3 * torch.rand(shape)], -1)
    return series.to(device)


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


def training(device="cpu"):
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
    model = DplModel(config=config, device=device)
    x = weather(device)
    shown = torch.cat([x, torch.rand(BASINS, 28, device=device).expand(DAYS, -1, -1)], -1)
    optimiser = torch.optim.Adadelta(model.parameters())

    def step():
        optimiser.zero_grad()
        flow = model({"x_phy": x, "xc_nn_norm": shown})["streamflow"]
        flow.square().mean().backward()
        optimiser.step()
        if device != "cpu":
            torch.cuda.synchronize(device)

    return {"training": best(step, 1, time.process_time if device == "cpu" else time.perf_counter)}


def _daily_component(module, static):
    """Their daily BMI, initialized with untrained weights."""
    import yaml
    from dmg.models.delta_models.dpl_model import DplModel

    dynamic = ["parBETA", "parK0", "parBETAET"]
    model = {
        "rho": 2,  # days before the first output, run at once and not measured
        "warmup": 0,
        "phy": {**phy(0), "name": ["Hbv_2"], "nmul": 4, "dynamic_params": {"Hbv_2": dynamic}},
        "nn": {
            "name": "LstmMlpModel",
            "lstm_hidden_size": 64,
            "mlp_hidden_size": 4096,
            "lstm_dropout": 0.0,
            "mlp_dropout": 0.0,
            "forcings": ["P", "T", "PET"],
            "attributes": static,
            "cache_states": True,
        },
    }
    model["phy"] |= {"forcings": ["P", "T", "PET"], "warmup_states": False}
    config = {
        "mode": "sim",
        "device": "cpu",
        "multimodel_type": None,
        "model": model,
        "cache_states": True,
        "train": {"target": ["streamflow"]},
        "test": {"test_epoch": 1},
        "sim": {"start_time": "2000/01/01", "end_time": "2000/12/31"},
    }
    run = {"start_time": "2000/01/01 00:00", "dtype": "float32", "catchsize": 100.0}
    run |= dict.fromkeys(static, 1.0)
    with tempfile.TemporaryDirectory() as folder:
        torch.save(DplModel(config=model).state_dict(), os.path.join(folder, "hbv_2_ep1.pt"))
        statistics = {n: [0.0, 2.0, 1.0, 1.0] for n in (*static, "P", "T", "PET")}
        for name, content in (
            ("config.yaml", config),
            ("normalization_statistics.json", statistics),
            ("bmi.yaml", {**run, "model_dir": folder}),
        ):
            with open(os.path.join(folder, name), "w") as file:
                (json.dump if name.endswith("json") else yaml.safe_dump)(content, file)
        component = module.DeltaModelBmi()
        component.initialize(os.path.join(folder, "bmi.yaml"))
    return component


def bmi_step():
    """The update of the daily BMI that ends a day and runs the model, and one that does not."""
    import numpy as np
    from dhbv2 import bmi as module

    # Its own table of names lacks the area that it asks for, so no configuration runs as published.
    names = module._var_name_internal_map
    names.setdefault("catchsize", names["uparea"])
    weather = [names[n] for n in ("P", "T", "SPFH", "DLWRF", "DSWRF", "PRES", "U", "V")]
    static = [n for n, long in names.items() if long in dict(module._static_input_vars) and n != "catchsize"]
    component = _daily_component(module, static)
    values = dict(zip(weather, (1.0, 9.0, 0.005, 300.0, 150.0, 95000.0, 2.0, 1.0), strict=True))
    ends, others = [], []
    for hour in range(24 * 12):
        for name, value in values.items():
            component.set_value(name, np.array([value]))
        begin = time.process_time()
        component.update()
        took = time.process_time() - begin
        if component._is_warm and hour >= 24 * 4:
            (ends if hour % 24 == 23 else others).append(took)
    return {"step": min(ends), "other": min(others)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    measured = {"hydrodl2": physics, "dmg": training, "dhbv2": bmi_step}[sys.argv[1]]()
    print(json.dumps(measured))
