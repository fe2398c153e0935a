# %% [markdown]
# # Forecast with assimilation
#
# A model whose stores are wrong is brought in line with a gauge. The truth is known here: the same model, begun with other stores and fed with other rain.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

from dmg_bmi import Bundle
from dmg_bmi.forecast import Assimilation, hindcast
from dmg_bmi.io.timeseries import BasinDataset
from dmg_bmi.synthetic.basins import generate

plt.rcParams.update({"figure.dpi": 120, "axes.spines.top": False, "axes.spines.right": False})
plt.rcParams.update({"font.size": 9, "axes.grid": True, "grid.alpha": 0.25, "date.converter": "concise"})

# %% [markdown]
# Three catchments, four years. The gauges see what true rain makes; the model is given rain that is off by a factor, another each week, as rain gauges and radars are.

# %%
model = Bundle.load("demo_daily").model
data = generate(basins=3, years=4, seed=8)
attributes = {name: torch.from_numpy(data.attributes[name]) for name in model.attribute_names}


def simulate(forcing: dict[str, np.ndarray]) -> np.ndarray:
    """Flow of the model, mm d-1."""
    series = {name: torch.from_numpy(forcing[name].astype("f8")) for name in model.forcing_names}
    with torch.no_grad():
        return model(series, attributes, outputs=["Q"])[0]["Q"].numpy()


rng = np.random.default_rng(3)
weeks = rng.lognormal(-0.5 * 0.5**2, 0.5, (len(data.times) // 7 + 1, 3)).repeat(7, axis=0)[: len(data.times)]
observed = simulate(data.forcing) * rng.lognormal(0.0, 0.05, weeks.shape)
given = {**data.forcing, "P": data.forcing["P"] * weeks}
wrong = BasinDataset(
    data.ids, data.times, data.step, given, data.attributes, {"Q": observed}, {**data.units, "Q": "mm"}
)

# %% [markdown]
# Every day of the last year an analysis adjusts rain and stores of the last 30 days to the gauge, and a forecast of a week starts from it; the open loop is the
# same without a gauge.

# %%
last_year = data.times[-365]
result = hindcast(
    model, wrong, last_year, data.times[-1], observed.mean(0), Assimilation(window=30), leads=7, every=1
)
print(f"{len(result.issued)} forecasts of {len(result.ids)} catchments")
open_loop, analysed = (result.skill(kind.flow) for kind in (result.open_loop, result.analysed))
persistence = result.skill(result.persistence())

# %%
figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
leads = np.arange(1, 8)
for skill, label, colour in (
    (analysed, "from the analysis", "#1b6ca8"),
    (open_loop, "without observations", "#8fa3b0"),
    (persistence, "latest observed flow", "#d95f02"),
):
    axis.plot(leads, np.median(skill, axis=1), "o-", color=colour, label=label)
axis.set_xlabel("days ahead")
axis.set_ylabel("median NSE of three catchments")
axis.legend(frameon=False)
plt.show()
gain = np.median(analysed[0]) - np.median(open_loop[0])
print(f"one day ahead the analysis gains {gain:.2f} in median NSE")
assert gain > 0

# %% [markdown]
# The same as a picture of forecasts: each line starts from an analysis.

# %%
figure, axis = plt.subplots(figsize=(9, 3.6), layout="constrained")
shown = slice(40, 160, 5)
period = (data.times >= result.issued[shown][0]) & (data.times <= result.issued[shown][-1])
axis.plot(data.times[period], observed[period, 0], color="#222222", lw=1.2, label="observed")
axis.plot(data.times[period], simulate(given)[period, 0], color="#8fa3b0", lw=1, label="without observations")
for k, issued in enumerate(result.issued[shown]):
    ahead = issued + np.arange(7) * np.timedelta64(1, "D")
    label = "from analyses" if k == 0 else None
    axis.plot(ahead, result.analysed.flow[shown][k, :, 0], color="#1b6ca8", lw=1.1, alpha=0.8, label=label)
axis.set_ylabel("runoff (mm d⁻¹)")
axis.legend(frameon=False, ncols=3)
plt.show()

# %% [markdown]
# In operation: `dmg-bmi forecast`, and in a framework observed flow is set like forcing ([forecast](../forecast.md)).
