# %% [markdown]
# # Your own process model
#
# Thirty lines: a declaration of what it takes in, holds and gives, and one step. Networks, training, BMI, water balance and unit hydrograph come from
# what the declaration says.

# %%
import matplotlib.pyplot as plt
import torch
from dmg_bmi.nn_models import MLP
from dmg_bmi.physics import Balance, Declaration, Parameter, ProcessModel, StateVariable, residual, run
from dmg_bmi.physics.fluxes import ET, Q, limited
from dmg_bmi.physics.forcings import PET, P

from dmg_bmi import DeltaModel, ParameterRole
from dmg_bmi.synthetic.basins import generate

plt.rcParams.update({"figure.dpi": 120, "axes.spines.top": False, "axes.spines.right": False})
plt.rcParams.update({"font.size": 9, "axes.grid": True, "grid.alpha": 0.25})


class Bucket(ProcessModel):
    """One store that evaporates ``PET S / capacity`` and drains ``k S``."""

    declaration = Declaration(
        name="my_bucket",
        forcings=(P, PET),
        parameters=(
            Parameter(
                "capacity", 50.0, 1000.0, "mm", "storage at which evaporation is potential", "this page"
            ),
            Parameter("k", 0.01, 0.5, "d-1", "recession coefficient", "this page"),
        ),
        states=(StateVariable("S", "mm", "stored water"),),
        fluxes=(Q, ET),
        balances=(Balance("water", "mm", into=("P",), out=("Q", "ET"), stored=("S",)),),
        source="this page",
    )

    def step(self, forcing, state, parameters, static, dt, processes=None):
        """Fill, evaporate, drain."""
        stored = state["S"] + forcing["P"]
        evaporated = limited(forcing["PET"] * (stored / parameters["capacity"]).clamp(max=1.0), stored)
        stored = stored - evaporated
        drained = parameters["k"] * dt * stored
        return {"S": stored - drained}, {"Q": drained, "ET": evaporated}


# %% [markdown]
# **It loses no water.** `residual` is what came in, less what went out, less the change of what is stored.

# %%
bucket = Bucket()
data = generate(basins=8, years=2, seed=2)
forcing = {name: torch.from_numpy(data.forcing[name].astype("f8")) for name in ("P", "PET")}
true = {"capacity": torch.linspace(150, 700, 8).double(), "k": torch.linspace(0.35, 0.04, 8).double()}
start = bucket.init_state(8)
fluxes, end = run(bucket, forcing, start, true, {}, dt=1.0)
(water,) = bucket.declaration.balances
lost = residual(bucket, water, forcing, fluxes, start, end).abs().max()
print(f"of {forcing['P'].sum(0).mean():.0f} mm, {lost:.1e} mm are lost")
assert lost < 1e-9

# %% [markdown]
# **Its parameters are found by gradients.** The flow of eight catchments whose parameters are known, and a search that begins in the middle of the bounds. Adam follows
# the gradient through 730 steps of the equations.

# %%
unit = torch.zeros(2, 8, dtype=torch.float64, requires_grad=True)
optimizer = torch.optim.Adam([unit], lr=0.1)
spin_up, path = 100, []
for _ in range(80):
    share = torch.sigmoid(unit)
    guess = {
        p.name: p.lower + share[k] * (p.upper - p.lower) for k, p in enumerate(bucket.declaration.parameters)
    }
    simulated, _ = run(bucket, forcing, bucket.init_state(8), guess, {}, dt=1.0)
    loss = ((simulated["Q"] - fluxes["Q"])[spin_up:] ** 2).mean()
    path.append((loss.item(), guess["capacity"].detach(), guess["k"].detach()))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

figure, axes = plt.subplots(1, 3, figsize=(9.5, 3), layout="constrained")
axes[0].semilogy([loss for loss, _, _ in path], color="#1b6ca8")
axes[0].set_xlabel("step")
axes[0].set_ylabel("mean squared error (mm² d⁻²)")
for axis, which, name, units in ((axes[1], 1, "capacity", "mm"), (axes[2], 2, "k", "d⁻¹")):
    axis.plot(
        [true[name].min(), true[name].max()], [true[name].min(), true[name].max()], color="#bbbbbb", lw=1
    )
    axis.plot(true[name], path[0][which], ".", color="#d95f02", label="first guess")
    axis.plot(true[name], path[-1][which], "o", color="#1b6ca8", label="found")
    axis.set_xlabel(f"true {name} ({units})")
axes[1].set_ylabel("found")
axes[1].legend(frameon=False)
plt.show()

# %% [markdown]
# **Networks find parameters for catchments without a gauge.** In a `DeltaModel` a network supplies them from attributes; sizes and bounds are read from the
# declaration. Six catchments train it, two that it has never seen test it.

# %%
torch.manual_seed(0)
attribute = torch.linspace(-1, 1, 8)  # what truth depends on, as clay or slope would be
model = DeltaModel(
    nn=MLP(1, 2, hidden_sizes=[8]),
    phy_model=bucket,
    roles=[ParameterRole(inputs=(), attributes=("attribute",))],
)
seen, unseen = [0, 1, 3, 4, 6, 7], [2, 5]
optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
for _ in range(150):
    some = {name: values[:, seen].float() for name, values in forcing.items()}
    simulated, _ = model(some, {"attribute": attribute[seen]}, outputs=["Q"])
    loss = ((simulated["Q"] - fluxes["Q"][:, seen])[spin_up:] ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
with torch.no_grad():
    predicted, _ = model(
        {n: v[:, unseen].float() for n, v in forcing.items()}, {"attribute": attribute[unseen]}
    )

figure, axes = plt.subplots(2, sharex=True, figsize=(9, 4.5), layout="constrained")
shown = slice(300, 600)
for axis, column, row in zip(axes, (0, 1), unseen, strict=True):
    axis.plot(data.times[shown], fluxes["Q"][shown, row], color="#222222", lw=1, label="truth")
    axis.plot(
        data.times[shown],
        predicted["Q"][shown, column],
        color="#d95f02",
        lw=1.2,
        label="predicted, never seen",
    )
    axis.set_ylabel("mm d⁻¹")
axes[0].legend(frameon=False, ncols=2)
plt.show()

# %% [markdown]
# To save it as a bundle and step it in a framework, give the class a name: an [entry point](../models/add_your_own.md) in a package of yours.
