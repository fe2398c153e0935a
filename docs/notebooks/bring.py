# %% [markdown]
# # Bring a model
#
# What another package has trained becomes a bundle and steps in any framework. Here it is NOAA's hourly LSTM, a run of neuralhydrology, where `NOAA_LSTM` names the
# folder of its run; without one, a run folder of the same layout with random weights stands in.

# %%
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import yaml

from dmg_bmi import Bundle, DeltaModelBmi
from dmg_bmi.interop.importers import import_model

plt.rcParams.update({"figure.dpi": 120, "axes.spines.top": False, "axes.spines.right": False})
plt.rcParams.update({"font.size": 9, "axes.grid": True, "grid.alpha": 0.25})
folder = Path(tempfile.mkdtemp())


def stand_in(run: Path) -> Path:
    """Write what neuralhydrology writes: configuration, weights and scaler of a small LSTM."""
    inputs, attributes, target, hidden = ["prcp(mm/day)", "tmean(C)"], ["aridity"], "QObs(mm/d)", 16
    config = {"model": "cudalstm", "head": "regression", "hidden_size": hidden, "seq_length": 60}
    config |= {"dynamic_inputs": inputs, "static_attributes": attributes, "target_variables": [target]}
    config |= {"dataset": "camels_us", "package_version": "1.13.0", "clip_targets_to_zero": [target]}
    torch.manual_seed(3)
    lstm, head = torch.nn.LSTM(len(inputs) + len(attributes), hidden), torch.nn.Linear(hidden, 1)
    weights = {f"lstm.{name}": values for name, values in lstm.state_dict().items()}
    weights |= {f"head.net.0.{name}": values for name, values in head.state_dict().items()}

    def xarray_dict(values: dict[str, float]) -> dict:
        arrays = {name: {"dims": [], "attrs": {}, "data": value} for name, value in values.items()}
        return {"coords": {}, "attrs": {}, "dims": {}, "data_vars": arrays}

    scaler = {"attribute_means": {"aridity": 0.9}, "attribute_stds": {"aridity": 0.4}}
    scaler["xarray_feature_center"] = xarray_dict({"prcp(mm/day)": 3.0, "tmean(C)": 9.0, target: 1.5})
    scaler["xarray_feature_scale"] = xarray_dict({"prcp(mm/day)": 7.0, "tmean(C)": 8.0, target: 6.0})
    (run / "train_data").mkdir(parents=True)
    (run / "config.yml").write_text(yaml.safe_dump(config))
    (run / "train_data" / "train_data_scaler.yml").write_text(yaml.safe_dump(scaler))
    torch.save(weights, run / "model_epoch030.pt")
    return run


real = os.environ.get("NOAA_LSTM", "")
run = Path(real) if os.path.isdir(real) else stand_in(folder / "run")
print("NOAA's LSTM" if os.path.isdir(real) else "NOAA_LSTM names no folder: random weights stand in")

# %% [markdown]
# `import_model` is `dmg-bmi import`. It recognises whose model a folder holds, and no code of it runs.

# %%
importer, bundle = import_model(run, "brought")
info = bundle.save(folder / "brought")
print(f"a model of {importer.package}: {info.summary}\nequal to theirs: {importer.equality}\n")
for kind in ("input", "attribute", "output"):
    for v in (v for v in info.variables if v.kind == kind and (v.published or kind == "attribute")):
        print(f"{kind:10}{v.symbol:12}{v.units:10}{v.name}")

# %% [markdown]
# Now it is a component like any other. A run of 60 rainy and dry days (or hours), stepped one by one, beside one forward of the same network:

# %%
model = DeltaModelBmi()
model.initialize(str(folder / "brought"))
rng = np.random.default_rng(1)
steps = 240
weather = {}
for name in model.get_input_var_names():
    v = info.by_name[name]
    statistic = info.statistics[v.symbol]
    noise = rng.normal(size=steps).cumsum() * 0.2
    weather[v.symbol] = np.clip(
        statistic.typical + 0.5 * statistic.std * (noise - noise.mean()), v.lower, v.upper
    )
rain = next((s for s in weather if s in ("P", "prcp")), next(iter(weather)))
weather[rain] = rng.gamma(0.15, 20.0 * max(abs(info.statistics[rain].typical), 0.1), steps)
flow = []
for k in range(steps):
    for symbol, series in weather.items():
        v = info.by_name[symbol]
        scale, offset = v.to_model(float(info.description["step"]))
        model.set_value(symbol, np.array([(series[k] - offset) / scale]))
    model.update()
    flow.append(float(model.get_value_ptr("Q")[0]))

network = Bundle.load(folder / "brought").model
forcing = {symbol: torch.tensor(series, dtype=torch.float64)[:, None] for symbol, series in weather.items()}
attributes = {
    v.symbol: torch.tensor(model.component.settable[v.name]) for v in info.variables if v.kind == "attribute"
}
with torch.no_grad():
    at_once, _ = network(forcing, attributes)
scale = info.by_name["Q"].from_model()[0]
difference = np.abs(at_once["Q"][:, 0].numpy() * scale - flow).max()
print(f"stepped and run at once differ by {difference:.1e} m")
assert difference < 1e-6

figure, axes = plt.subplots(2, sharex=True, figsize=(9, 4), height_ratios=(1, 2), layout="constrained")
axes[0].bar(range(steps), weather[rain], 1.0, color="#8fa3b0")
axes[0].invert_yaxis()
axes[0].set_ylabel("rain (mm)")
axes[1].plot(np.array(flow) * 1000.0, color="#1b6ca8", lw=2.4, label="stepped through the BMI")
axes[1].plot(at_once["Q"][:, 0] * scale * 1000.0, "--", color="#d95f02", lw=1, label="one forward")
axes[1].set_ylabel("runoff (mm per step)")
axes[1].set_xlabel("step")
axes[1].legend(frameon=False)
plt.show()

# %% [markdown]
# What else can be brought, and how equal it is: [I have a model from ...](../bring_your_model.md)
