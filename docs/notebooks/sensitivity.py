# %% [markdown]
# # Sensitivities by gradients
#
# Networks and equations are one differentiable function of weather and attributes, so one backward pass tells how flow depends on all of them at once.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

from dmg_bmi import Bundle
from dmg_bmi.datasets import sensitivity, to_xarray
from dmg_bmi.synthetic.basins import generate

plt.rcParams.update({"figure.dpi": 120, "axes.spines.top": False, "axes.spines.right": False})
plt.rcParams.update({"font.size": 9, "axes.grid": True, "grid.alpha": 0.25, "axes.axisbelow": True})

data = generate(basins=6, years=2, seed=5)
ds = to_xarray(data)

# %% [markdown]
# **Which rain made this flow?** The derivative of the flow of one day with respect to the rain of each rainy day before it: a unit response that changes with the state of the catchment.

# %%
model = Bundle.load("demo_daily").model
attributes = {name: torch.from_numpy(data.attributes[name]) for name in model.attribute_names}
forcing = {name: torch.from_numpy(data.forcing[name].astype("f8")) for name in model.forcing_names}
flow = model(forcing, attributes, outputs=["Q"])[0]["Q"][:, 0]
days = {
    "after the largest flood": int(flow[400:].argmax()) + 400,
    "in low flow": int(flow[400:].argmin()) + 400,
}
figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
for (label, day), colour in zip(days.items(), ("#1b6ca8", "#d95f02"), strict=True):
    rain = forcing["P"].clone().requires_grad_()
    made, _ = model({**forcing, "P": rain}, attributes, outputs=["Q"])
    made["Q"][day, 0].backward()
    response, fell = rain.grad[day - 59 : day + 1, 0].flip(0), forcing["P"][day - 59 : day + 1, 0].flip(0)
    rainy = np.flatnonzero(fell > 0.1)  # on dry days the networks' input has no slope
    date = data.times[day].astype("M8[D]")
    axis.plot(rainy, response[rainy], "o-", ms=3.5, lw=1, color=colour, label=f"{label}, {date}")
    # What a finite difference says of the wettest of the days before.
    wet = int(forcing["P"][day - 10 : day, 0].argmax()) + day - 10
    flows = []
    for change in (-0.05, 0.05):
        other = forcing["P"].clone()
        other[wet, 0] += change
        with torch.no_grad():
            flows.append(model({**forcing, "P": other}, attributes, outputs=["Q"])[0]["Q"][day, 0])
    difference = float(flows[1] - flows[0]) / 0.1
    print(
        f"{label}: {rain.grad[wet, 0]:.4f} mm per mm of the wettest day before, by finite differences {difference:.4f}"
    )
axis.axhline(0, color="#222222", lw=0.6)
axis.set_xlabel("days from rain to flow")
axis.set_ylabel("change of flow per rain (mm d⁻¹ mm⁻¹)")
axis.legend(frameon=False)
plt.show()

# %% [markdown]
# In March what fell as snow weeks before counts as much as the rain of last week: it melts into the flood. In a dry autumn only the groundwater answers, slowly.
#
# **When does warmth matter?** `sensitivity` of the mean flow to the temperature of each day: melting moves water in time, evaporation takes it away.

# %%
of_weather = sensitivity("demo_daily", ds, of="Q", to=["P", "T"])
length = ds.sizes["time"]
by_month = (of_weather * length).groupby("time.month").mean()
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for axis, name, label in ((axes[0], "P", "mm of rain"), (axes[1], "T", "°C on one day")):
    basins = axis.plot(by_month.month, by_month[name], color="#8fa3b0", lw=0.8)
    (mean,) = axis.plot(by_month.month, by_month[name].mean("catchment"), color="#1b6ca8", lw=2)
    axis.axhline(0, color="#222222", lw=0.6)
    axis.set_xticks(range(1, 13), "JFMAMJJASOND")
    axis.set_ylabel(f"change of flow (mm) per {label}")
axes[1].legend([mean, basins[0]], ["mean", "each of six basins"], frameon=False)
plt.show()

# %% [markdown]
# **Which attributes?** The change of mean flow for a tenth of each attribute. These are what the networks have learned of other catchments: a slope of theirs, not an experiment.

# %%
names = {
    "elev_mean": "elevation",
    "frac_snow": "snow",
    "frac_forest": "forest",
    "clay_frac": "clay",
    "aridity": "aridity",
}
of_attributes = sensitivity("demo_daily", ds, of="Q", to=[*names])
change = {words: float((of_attributes[name] * ds[name]).mean()) * 365 * 0.1 for name, words in names.items()}
figure, axis = plt.subplots(figsize=(6, 2.6), layout="constrained")
order = sorted(change, key=lambda name: abs(change[name]))
axis.barh(
    order, [change[name] for name in order], color=["#1b6ca8" if change[n] > 0 else "#d95f02" for n in order]
)
axis.set_xlabel("change of flow (mm a⁻¹) for a tenth more of it")
axis.grid(axis="y", visible=False)
axis.axvline(0, color="#222222", lw=0.6)
plt.show()
assert all(np.isfinite(list(change.values())))
