# %% [markdown]
# # From a GeoPackage to routed flow
#
# What NOAA's NextGen needs from a hydrofabric, a bundle and weather is written and checked by one command. `ngen` itself is not on this machine, so the same components
# are then stepped by `dmg-bmi couple`, which hands over water as `ngen` and t-route do.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import xarray as xr

from dmg_bmi import Bundle, hydrofabric
from dmg_bmi.cli import main
from dmg_bmi.io.csv_table import write_csv
from dmg_bmi.plotting import basin_map
from dmg_bmi.runtime.config import RunConfig
from dmg_bmi.runtime.initial_state import write_initial_state
from dmg_bmi.synthetic import river_basin

plt.rcParams.update({"figure.dpi": 120, "axes.spines.top": False, "axes.spines.right": False})
plt.rcParams.update({"font.size": 9, "axes.grid": True, "grid.alpha": 0.25, "date.converter": "concise"})
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# A synthetic basin with the tables of a hydrofabric v2.2, hourly weather as `ngen` reads it, and a table of attributes. With data of your own these are your subset, your
# forcing and your table.

# %%
basin = river_basin.generate(24, area=500.0, seed=11)
basin.write(folder / "subset.gpkg")
weather = river_basin.weather(basin, days=60, seed=35)
(folder / "forcing").mkdir()
times = [str(time).replace("T", " ") for time in weather.times]
for k, name in enumerate(weather.ids):
    rain = weather.forcing["P"][:, k] / 3600.0  # mm s-1
    warmth = weather.forcing["T"][:, k] + 273.15
    rows = zip(times, rain.tolist(), warmth.tolist(), strict=True)
    write_csv(folder / "forcing" / f"{name}.csv", ["Time", "precip_rate", "TMP_2maboveground"], rows)
names = ["elev_mean", "area", "aridity", "frac_snow", "frac_forest", "clay_frac"]
columns = [weather.attributes[name].tolist() for name in names]
write_csv(folder / "attributes.csv", ["divide_id", *names], zip(weather.ids, *columns, strict=True))

# %%
start, end = weather.times[0], weather.times[-24]
arguments = ["nextgen", "prepare", "demo_daily", "--hydrofabric", str(folder / "subset.gpkg")]
arguments += ["--forcing", str(folder / "forcing"), "--table", str(folder / "attributes.csv")]
arguments += ["--pet", "oudin", "--stored-forcing", "--start", str(start), "--end", str(end)]
assert main([*arguments, "--output", str(folder / "run")]) == 0
for path in sorted(p for p in (folder / "run").rglob("*") if p.is_file())[:14]:
    print(path.relative_to(folder))

# %% [markdown]
# `prepare` has checked what it wrote; after an edit by hand `dmg-bmi nextgen check` does so again.

# %%
realization = folder / "run" / "config" / "realization.json"
fabric = next((folder / "run" / "config").glob("*.gpkg"))
assert main(["nextgen", "check", str(realization), "--hydrofabric", str(fabric)]) == 0

# %% [markdown]
# Now runoff and rivers: each hour the depth of runoff times the area of each divide enters the reach that it drains to. Stores begin with some water, so that this needs no
# years to fill them; in `ngen` the same is `--model-params` with `{"phy.SM": [...]}`, or a state of an earlier run.

# %%
shared = next((folder / "run").rglob("shared.yaml"))
empty = Bundle.load("demo_daily").model.init_state(len(basin.ids))
depth_of = {"phy.SM": 200.0, "phy.SUZ": 5.0, "phy.SLZ": 20.0}  # mm
state = {name: torch.full_like(empty[name], depth) for name, depth in depth_of.items()}
write_initial_state(RunConfig.read(shared), state, folder / "start.state")
runoff_yaml = shared.with_name("runoff.yaml")
runoff_yaml.write_text(shared.read_text() + f"restart: {{read: {folder / 'start.state'}}}\n")
(folder / "river.yaml").write_text(
    f"bundle: muskingum_cunge\ncatchments: {{hydrofabric: {fabric}}}\nsources: divide\n"
)
(folder / "coupled.yaml").write_text(f"""
start_time: {start}
end_time: {end}
components:
  runoff: {{bmi: "dmg_bmi:DeltaModelBmi", config: {runoff_yaml}}}
  river: {{bmi: "dmg_bmi:RoutingBmi", config: river.yaml}}
exchanges:
  - source: runoff.land_surface_water__runoff_depth
    area: catchment__area
    target: river.land_surface_water_source__volume_flow_rate
""")
assert main(["couple", str(folder / "coupled.yaml"), "--output", str(folder)]) == 0

# %%
runoff, river = xr.open_dataset(folder / "runoff.nc"), xr.open_dataset(folder / "river.nc")
network = hydrofabric.read(folder / "subset.gpkg").network
size = network.columns()["upstream_area"]
order = np.argsort(-size)
shown = slice(5 * 24, None)  # rivers begin dry
figure, axis = plt.subplots(figsize=(9, 3.2), layout="constrained")
for k, colour in zip(order[[0, 3, 12]], ("#08306b", "#d95f02", "#1b9e77"), strict=True):
    flow = river.discharge.sel(catchment=network.ids[k])
    axis.plot(river.time[shown], flow[shown], color=colour, label=f"{network.ids[k]}, {size[k]:.0f} km²")
axis.set_ylabel("discharge (m³ s⁻¹)")
axis.legend(frameon=False, title="reach")
plt.show()

# %%
peak = int(river.discharge.sel(catchment=network.ids[order[0]]).values.argmax())
days = len(runoff.time) // 24
flows = dict(zip(river.catchment.values, river.discharge.values[peak].tolist(), strict=True))
depths = dict(zip(runoff.catchment.values, (runoff.Q.sum("time").values * 1000.0).tolist(), strict=True))
when = str(river.time.values[peak])[:16].replace("T", " ")
basin_map.basin(
    folder / "map.png",
    folder / "subset.gpkg",
    flows,
    depths,
    title=f"Flow at {when}",
    depth_label=f"runoff in {days} days (mm)",
)
figure, axis = plt.subplots(figsize=(7, 5.5), layout="constrained")
axis.imshow(plt.imread(folder / "map.png"))
axis.set_axis_off()
plt.show()

# %% [markdown]
# In `ngen` itself: `ngen config/subset.gpkg all config/subset.gpkg all config/realization.json` in the folder `run` ([NextGen](../nextgen.md)).
