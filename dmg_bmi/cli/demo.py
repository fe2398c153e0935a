"""Run a shipped model on all divides of a synthetic basin and route its runoff to the outlet.

Writes the basin (a hydrofabric GeoPackage), its weather, the configurations of a coupled run, its
outputs as NetCDF, a hydrograph and a map.
"""

from __future__ import annotations

import argparse
from pathlib import Path

BUNDLE, RIVER = "demo_hourly", "muskingum_cunge"
#: mm in the stores of the catchments at the start, so that the demo needs no years to fill them.
STORES = {"phy.SM": 150.0, "phy.SUZ": 2.0, "phy.SLZ": 12.0}
COLOURS = ("#08306b", "#d95f02", "#1b9e77")
RIVER_YAML = f"bundle: {RIVER}\ncatchments: {{hydrofabric: basin.gpkg}}\nsources: divide\n"
COUPLED_YAML = """\
# dmg-bmi couple coupled.yaml
start_time: START
end_time: END
components:
  runoff: {bmi: "dmg_bmi:DeltaModelBmi", config: runoff.yaml, forcing: forcing.nc}
  river: {bmi: "dmg_bmi:RoutingBmi", config: river.yaml}
exchanges:
  - {source: runoff.land_surface_water__runoff_depth, area: catchment__area, target: river.FLOW}
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``dmg-bmi demo``."""
    parser.add_argument("--output", type=Path, default=Path("demo"), help="folder (default: %(default)s)")


def command(arguments: argparse.Namespace) -> None:
    """Run ``dmg-bmi demo``."""
    from ..io.atomic import make_folder
    from ..plotting import hydrographs as plots
    from .couple import couple

    draws = plots.can_draw()
    folder: Path = arguments.output
    make_folder(folder)
    configuration = _prepare(folder)
    files = couple(configuration, folder)
    pictures = _draw(folder, files) if draws else ()
    for path in (configuration, *files.values(), *pictures):
        print(path)


def _prepare(folder: Path) -> Path:
    """Write basin, weather and configurations; return that of the coupled run."""
    import numpy as np
    import torch

    from ..io import netcdf
    from ..io.atomic import write_atomic
    from ..model.bundle import BundleInfo
    from ..model.variables import FLOW
    from ..runtime.config import RunConfig, write_config
    from ..runtime.initial_state import write_initial_state
    from ..synthetic import river_basin

    basin = river_basin.generate(40, area=900.0, seed=7)
    basin.write(folder / "basin.gpkg")
    dataset = river_basin.weather(basin, seed=35)
    netcdf.write(folder / "forcing.nc", dataset, title="synthetic weather")
    info = BundleInfo.read(BUNDLE)
    attributes = [v.name for v in info.variables if v.kind == "attribute"]
    runoff = folder / "runoff.yaml"
    initial = folder / "start.state"
    write_config(runoff, BUNDLE, dataset, [*attributes, "area_km2"], initial.name)
    empty = info.load_model().init_state(len(dataset.ids))
    full = {name: torch.full_like(empty[name], depth) for name, depth in STORES.items()}
    write_initial_state(RunConfig.read(runoff), full, initial)
    write_atomic(folder / "river.yaml", RIVER_YAML.encode("utf-8"))
    coupled = folder / "coupled.yaml"
    start, end = dataset.times[0], dataset.times[-1] + np.timedelta64(3600, "s")
    text = COUPLED_YAML.replace("START", str(start)).replace("END", str(end)).replace("FLOW", FLOW)
    write_atomic(coupled, text.encode("utf-8"))
    return coupled


def _draw(folder: Path, files: dict[str, Path]) -> tuple[Path, Path]:
    """Draw the hydrograph and the map."""
    import numpy as np

    from .. import hydrofabric
    from ..io import netcdf
    from ..plotting import basin_map
    from ..plotting import hydrographs as plots

    fabric = hydrofabric.read(folder / "basin.gpkg")
    network, area = fabric.network, fabric.divides.area
    weather, runoff, river = (
        netcdf.read(p) for p in (folder / "forcing.nc", files["runoff"], files["river"])
    )
    depth, flow = runoff.forcing["Q"], river.forcing["discharge"]
    size = network.columns()["upstream_area"]
    outlet = int(size.argmax())
    # The two largest rivers that meet.
    above = max(
        (np.flatnonzero(network.downstream == k) for k in range(len(network))),
        key=lambda rows: np.sort(size[rows])[-2] if len(rows) > 1 else 0.0,
    )
    shown = [outlet, *above[np.argsort(-size[above])][:2].tolist()]
    marks = dict(zip((network.ids[k] for k in shown), COLOURS, strict=True))
    begin = 24  # rivers start dry
    labels = ("outlet", "larger river", "smaller river")
    flows = {
        f"{label}, {size[k]:.0f} km²": (flow[begin:, k], colour)
        for label, k, colour in zip(labels, shown, COLOURS, strict=True)
    }
    pictures = folder / "hydrograph.png", folder / "map.png"
    plots.routed(
        pictures[0],
        river.times[begin:],
        flows,
        (depth @ area)[begin:] * 1e6 / 3600.0,
        precipitation=(weather.forcing["P"] @ area)[begin:] / area.sum(),
        title=f"Hybrid runoff of {len(area)} divides, routed to the outlet",
    )
    peak = int(flow[:, outlet].argmax())
    basin_map.basin(
        pictures[1],
        folder / "basin.gpkg",
        dict(zip(network.ids, flow[peak].tolist(), strict=True)),
        dict(zip(fabric.divides.ids, (depth.sum(0) * 1e3).tolist(), strict=True)),
        title=f"Flow when the outlet peaks, {str(river.times[peak])[:16].replace('T', ' ')}",
        depth_label=f"runoff in {len(depth) // 24} days (mm)",
        marked=marks,
    )
    return pictures
