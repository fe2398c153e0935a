# %% [markdown]
# # Fine-tune for a gauge
#
# A model that was trained on many basins is fitted on to one gauge, in one call. What was learned elsewhere stays where the gauge says nothing.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import xarray as xr

from dmg_bmi.datasets import simulate, to_xarray
from dmg_bmi.synthetic.basins import generate
from dmg_bmi.training import fine_tune

plt.rcParams.update({"figure.dpi": 120, "axes.spines.top": False, "axes.spines.right": False})
plt.rcParams.update({"font.size": 9, "axes.grid": True, "grid.alpha": 0.25, "date.converter": "concise"})

# %% [markdown]
# A gauge with four years of flow, as a Dataset: the first fills the stores, the second is to fit, two are to test. With data of your own this is
# `xr.open_dataset("gauge.nc")`; observations have the attribute `role = "target"` ([xarray Datasets](../xarray.md)).

# %%
ds = to_xarray(generate(basins=1, years=4, seed=11))
print(ds)

# %% [markdown]
# Few steps and a small rate, and only the network of the static parameters: with one gauge there is little to learn, and much to forget. All that is not said
# here is as in the first training. The folder holds the new bundle, its scores, pictures and data; `dmg-bmi report` makes a page of it.

# %%
folder = Path(tempfile.mkdtemp()) / "gauge"
run = fine_tune(
    "demo_daily",
    folder,
    {
        "periods": {"train": ["2000-10-01", "2002-09-30"], "test": ["2002-10-01", "2004-09-30"]},
        "training.max_steps": 20,
        "training.batch_size": 1,
        "training.learning_rate": 0.008,
    },
    data=ds,
    learns=["static"],
)
print(run.scores["test"].values["NSE"])

# %%
before, after = (simulate(model, ds).Q[:, 0] * 1000.0 for model in ("demo_daily", folder))
observed = ds.Q[:, 0]


def nse(simulated: xr.DataArray, first: str, last: str) -> float:
    """Nash-Sutcliffe efficiency of some days."""
    error, truth = (
        ((simulated - observed) ** 2).sel(time=slice(first, last)),
        observed.sel(time=slice(first, last)),
    )
    return float(1 - error.sum() / ((truth - truth.mean()) ** 2).sum())


years = {"the year to fit": ("2001-10-01", "2002-09-30"), "the others": ("2002-10-01", "2004-09-30")}
for label, flow in (("before", before), ("after", after)):
    print(f"{label:7} NSE of", ", of ".join(f"{name} {nse(flow, *days):.3f}" for name, days in years.items()))
assert nse(after, *years["the year to fit"]) > nse(before, *years["the year to fit"])

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.2), width_ratios=(1, 2.4), layout="constrained")
axes[0].plot(range(1, 1 + len(run.history.loss)), run.history.loss, color="#1b6ca8")
axes[0].set_xlabel("step")
axes[0].set_ylabel("loss (error² / variance)")
shown = slice(-400, None)
for flow, label, colour in (
    (observed, "observed", "#222222"),
    (before, "before", "#d95f02"),
    (after, "after", "#1b6ca8"),
):
    axes[1].plot(ds.time[shown], flow[shown], color=colour, lw=1.1, label=label)
axes[1].set_ylabel("runoff (mm d⁻¹)")
axes[1].set_title("days that were not fitted", loc="left", fontsize=9)
axes[1].legend(frameon=False, ncols=3)
plt.show()

# %% [markdown]
# To write the loop yourself: `Bundle.load("demo_daily", trainable=True).model` is an `nn.Module` whose weights take gradients ([your own process
# model](own_model.py) has such a loop), and `Bundle(model, "name").save("folder")` makes a bundle of it.
