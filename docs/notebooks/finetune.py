# %% [markdown]
# # Fine-tune for a gauge
#
# A model that was trained on many basins is fitted on to one gauge. `dmg-bmi train CONFIG --from BUNDLE` does it with all that a training has ([training](../training.md)); here is
# the loop itself: `Bundle.load(..., trainable=True)` is an `nn.Module` whose weights take gradients, and a
# loop of plain PyTorch does the rest. What was learned elsewhere stays where the gauge says nothing.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from dmg_bmi import Bundle
from dmg_bmi.datasets import simulate, to_xarray
from dmg_bmi.synthetic.basins import generate

plt.rcParams.update({"figure.dpi": 120, "axes.spines.top": False, "axes.spines.right": False})
plt.rcParams.update({"font.size": 9, "axes.grid": True, "grid.alpha": 0.25})

# %% [markdown]
# A gauge with four years of flow: the second to fit (the first fills the stores), two to test.

# %%
data = generate(basins=1, years=4, seed=11)
forcing = {name: torch.from_numpy(values.astype("f4")) for name, values in data.forcing.items()}
attributes = {name: torch.from_numpy(values.astype("f4")) for name, values in data.attributes.items()}
observed = torch.from_numpy(data.target["Q"].astype("f4"))
spin_up, split = 365, 365 * 2


def nse(simulated: torch.Tensor, steps: slice) -> float:
    """Nash-Sutcliffe efficiency of some steps."""
    error = (simulated[steps] - observed[steps]) ** 2
    return float(1 - error.sum() / ((observed[steps] - observed[steps].mean()) ** 2).sum())


model = Bundle.load("demo_daily", trainable=True).model
names = model.forcing_names


def run(steps: slice) -> torch.Tensor:
    """Flow from the initial state, mm d-1."""
    return model({n: forcing[n][steps] for n in names}, attributes, outputs=["Q"])[0]["Q"]


# %% [markdown]
# Few steps and a small rate, and only the network of the static parameters: with one gauge there is little to learn, and much to forget.

# %%
model.networks["dynamic"].requires_grad_(False)
optimizer = torch.optim.Adam([w for w in model.parameters() if w.requires_grad], lr=4e-3)
with torch.no_grad():
    model.eval()
    before = run(slice(None))
model.train()
losses = []
for _ in range(20):
    simulated = run(slice(0, split))
    loss = ((simulated - observed[:split])[spin_up:] ** 2).mean() / observed[spin_up:split].var()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
model.eval()
with torch.no_grad():
    after = run(slice(None))
for label, flow in (("before", before), ("after", after)):
    print(
        f"{label:7} NSE of the years to fit {nse(flow, slice(spin_up, split)):.3f}, of the others {nse(flow, slice(split, None)):.3f}"
    )
assert nse(after, slice(spin_up, split)) > nse(before, slice(spin_up, split))

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.2), width_ratios=(1, 2.4), layout="constrained")
axes[0].plot(losses, color="#1b6ca8")
axes[0].set_xlabel("step")
axes[0].set_ylabel("1 - NSE of the years to fit")
shown = slice(-400, None)
axes[1].plot(data.times[shown], observed[shown, 0], color="#222222", lw=1, label="observed")
axes[1].plot(data.times[shown], before[shown, 0], color="#d95f02", lw=1, label="before")
axes[1].plot(data.times[shown], after[shown, 0], color="#1b6ca8", lw=1.2, label="after")
axes[1].set_ylabel("runoff (mm d⁻¹)")
axes[1].set_title("years that were not fitted", loc="left", fontsize=9)
axes[1].legend(frameon=False, ncols=3)
plt.show()

# %% [markdown]
# Saved, it is a bundle like any other, with a fingerprint of its own.

# %%
folder = Path(tempfile.mkdtemp()) / "tuned"
info = Bundle(model, "tuned", "demo_daily, fitted on to one gauge").save(folder)
again = simulate(folder, to_xarray(data)).Q.values[:, 0] * 1000.0
print(
    info.fingerprint[:12], f"differs from the loop by {np.abs(again - after[:, 0].numpy()).max():.1e} mm d⁻¹"
)
