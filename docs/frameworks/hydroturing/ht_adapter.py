"""Between HydroTuring's files and a bundle: ``python ht_adapter.py --request /io/request.json``.

Rates are mm d-1 and stores are mm at the end of each row, spin-up included.
"""

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from dmg_bmi.model.bundle import BundleInfo

BUNDLE, CAPACITY = "demo_daily", "FC"
DAY = 86400.0
STEPS = {"PT1D": DAY}
#: Where each store of HBV belongs; all others are groundwater.
STORES = {"SNOWPACK": "snw", "MELTWATER": "snw", "SM": "mrso", "queue": "channel"}


def run(forcing: list[dict[str, str]], static: dict[str, float]) -> list[dict[str, float | str]]:
    """Step the bundle through the rows, one by one, so that nothing can be known in advance."""
    model = BundleInfo.read(BUNDLE).load_model().eval()
    # Of a network's inputs only what the training says: a probe that changes the area changes nothing else.
    attributes = {
        n: torch.tensor([model.statistics[n].mean], dtype=torch.float64) for n in model.attribute_names
    }
    water = model.declaration.balances[0]
    with torch.no_grad():
        multipliers = {}
        if "soil_capacity_mm" in static:
            learned = model.precompute(attributes, 1)[f"phy.{CAPACITY}"]
            scale = float(static["soil_capacity_mm"]) / learned.max()
            multipliers = {f"phy.{CAPACITY}": torch.tensor([float(scale)], dtype=torch.float64)}
        constants = model.precompute(attributes, 1, multipliers=multipliers)
        state = model.init_state(1)
        rows = []
        for row in forcing:
            now = {"P": row["pr"], "T": row["tas"], "PET": row["pet"]}
            now = {name: torch.tensor([[float(value)]], dtype=torch.float64) for name, value in now.items()}
            fluxes, state = model.run(now, constants, state)
            told: dict[str, float | str] = {"time": row["time"], "pr": row["pr"], "canopy": 0.0}
            told |= {"evspsbl": fluxes["ET"].item(), "mrro": fluxes["Q"].item()}
            for name in water.stored:
                kind = STORES.get(name.rpartition(".")[2], "gw")
                depth = model.storage(replace(water, stored=(name,)), state, constants).item()
                told[kind] = float(told.get(kind, 0.0)) + depth
            rows.append(told)
    return rows


def main() -> None:
    """Read the request, run, write the table."""
    request_file = Path(sys.argv[-1])
    request = json.loads(request_file.read_text(encoding="utf-8"))
    folder = request_file.parent
    if request.get("timestep", "PT1D") not in STEPS:
        raise SystemExit(f"the bundle steps by days, not by {request['timestep']}")
    with open(folder / request["input"]["forcing"], encoding="utf-8", newline="") as file:
        forcing = list(csv.DictReader(file))
    static = json.loads((folder / request["input"]["static"]).read_text(encoding="utf-8"))
    rows = run(forcing, static)
    table = folder / request["output"]["table"]
    with open(table, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(
            file, ["time", "pr", "evspsbl", "mrro", "mrso", "snw", "canopy", "gw", "channel"]
        )
        writer.writeheader()
        writer.writerows(rows)
    status = {"status": "ok", "notes": "HBV has no interception store: canopy is zero"}
    (table.parent / "run.json").write_text(json.dumps(status), encoding="utf-8")


if __name__ == "__main__":
    main()
