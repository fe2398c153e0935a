# %% [markdown]
# # Train on real basins
#
# A hybrid of a few basins of CAMELS-US: an MLP on their attributes and an LSTM on the weather give the parameters of HBV. Name the folder of the data in
# `CAMELS_US`; without one the same is done with synthetic basins, which says so.

# %%
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from dmg_bmi.datasets import parameters, simulate
from dmg_bmi.training import train

plt.rcParams.update({"figure.dpi": 120, "axes.spines.top": False, "axes.spines.right": False})
plt.rcParams.update({"font.size": 9, "axes.grid": True, "grid.alpha": 0.25, "date.converter": "concise"})

folder = os.environ.get("CAMELS_US", "")
real = os.path.isdir(folder)
print(
    f"basins of {Path(folder).name}"
    if real
    else "CAMELS_US names no folder of CAMELS-US: synthetic basins stand in"
)

# %% [markdown]
# The configuration is a shipped one (`dmg-bmi configs` lists them), made small: few basins, few steps, one member. `overrides` are what `--set` is on the
# command line.

# %%
small = ["training.max_steps=60", "training.batch_size=12", "training.validate_every=20"]
if real:
    basins = ["01333000", "02046000", "03010655"]
    config, small = (
        "camels",
        [
            *small,
            f"data.path={folder}",
            f"data.basins={basins}",
            "training.ensemble=1",
            "training.seq_length=545",
            "model.phy_model.nmul=2",
            "training.engine=eager",
        ],
    )
else:
    config, small = "demo_daily", [*small, "training.engine=eager"]
run = train(config, Path(tempfile.mkdtemp()) / "run", small)
print(sorted(path.name for path in run.folder.iterdir()))

# %%
history = np.genfromtxt(run.folder / "history.csv", delimiter=",", names=True)
figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
axis.plot(history["step"], history["loss"], color="#8fa3b0", lw=1, label="each step")
smooth = np.convolve(history["loss"], np.ones(9) / 9, mode="valid")
axis.plot(history["step"][4:-4], smooth, color="#1b6ca8", lw=2, label="mean of nine")
axis.set_xlabel("step")
axis.set_ylabel("loss (error² / variance)")
axis.legend(frameon=False, ncols=2)
plt.show()

# %% [markdown]
# The folder of a training is a name of its model: `simulate` takes it as it takes a shipped name. Its `forcing.nc` holds weather, attributes and observed flow.

# %%
ds = xr.open_dataset(run.folder / "forcing.nc")
simulated = simulate(run.folder, ds).Q * 1000.0
observed = ds.Q
years = slice(simulated.time[-730].values, None)


def nse(simulated: xr.DataArray, observed: xr.DataArray) -> xr.DataArray:
    """Nash-Sutcliffe efficiency along time."""
    error = ((simulated - observed) ** 2).where(observed.notnull()).sum("time")
    return 1 - error / ((observed - observed.mean("time")) ** 2).sum("time")


skill = nse(simulated.sel(time=years), observed.sel(time=years))
shown = ds.catchment.values[:3]
figure, axes = plt.subplots(len(shown), sharex=True, figsize=(9, 6.5), layout="constrained")
for axis, basin in zip(axes, shown, strict=True):
    axis.plot(
        ds.time.sel(time=years),
        observed.sel(catchment=basin, time=years),
        color="#222222",
        lw=0.9,
        label="observed",
    )
    axis.plot(
        ds.time.sel(time=years),
        simulated.sel(catchment=basin, time=years),
        color="#1b6ca8",
        lw=1.1,
        label="simulated",
    )
    axis.set_title(
        f"{basin}: NSE of the years shown {float(skill.sel(catchment=basin)):.2f}", loc="left", fontsize=9
    )
    axis.set_ylabel("runoff (mm d⁻¹)")
axes[0].legend(frameon=False, ncols=2)
figure.suptitle("The last two years, on which nothing was trained")
plt.show()

# %% [markdown]
# Sixty steps are a beginning: the shipped configuration takes 300 and three members ([skill](../skill.md)). What the networks have learned is physical from the first
# step on, since parameters cannot leave their bounds:

# %%
learned = parameters(run.folder, ds)
static = [name for name in learned.data_vars if "time" not in learned[name].dims][:4]
for name in static:
    print(f"{name:12}", np.round(learned[name].values.reshape(ds.sizes["catchment"], -1).mean(1)[:3], 3))
