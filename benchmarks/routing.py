"""What routing costs, what its kernels differ in, how exact it is, and whether roughness is found again.

    python benchmarks/routing.py speed [GPKG] [--rows 794 100000] [--eager]
    python benchmarks/routing.py solvers [GPKG] [--rows 794 100000]
    python benchmarks/routing.py difference GPKG
    python benchmarks/routing.py accuracy GPKG
    python benchmarks/routing.py twin GPKG

One thread, float64, hourly steps of 12 sub-steps. `speed` routes a storm through a random network
after Shreve (1966): all binary trees with that many sources are equally likely. With a GeoPackage it
routes through its network too. It runs the component and the engine that a framework gets. t-route's
compiled Fortran takes about 0.45 us per reach and sub-step of 5 minutes on the 794 reaches of the Juniata.
Two packages of PyPI are not beside it: building droute 0.6.1 downloads CoDiPack, and diffroute 0.1.0 runs on
GPUs only.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rivers.kernels import accuracy, difference
from rivers.networks import from_file, synthetic, write_fabric
from rivers.roughness import twin
from rivers.speed import solvers, speed


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("speed", "solvers", "difference", "accuracy", "twin"))
    parser.add_argument("gpkg", nargs="?", type=Path, help="hydrofabric GeoPackage")
    parser.add_argument("--rows", nargs="*", type=int, default=[794, 100_000])
    parser.add_argument("--eager", action="store_true", help="do not compile")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.what in ("speed", "solvers"):
        with TemporaryDirectory() as folder:
            fabrics = {arguments.gpkg.stem[:12]: arguments.gpkg} if arguments.gpkg else {}
            for rows in arguments.rows:
                fabrics[f"random tree, {rows}"] = write_fabric(Path(folder) / f"{rows}.gpkg", synthetic(rows))
            if arguments.what == "speed":
                speed(fabrics, not arguments.eager)
            for name, path in fabrics.items() if arguments.what == "solvers" else ():
                network, (_, static, _) = from_file(path)
                print(name)
                solvers(static, len(network))
    elif arguments.gpkg is None:
        parser.error(f"{arguments.what} needs a GeoPackage")
    else:
        {"difference": difference, "accuracy": accuracy, "twin": twin}[arguments.what](arguments.gpkg)


if __name__ == "__main__":
    main()
