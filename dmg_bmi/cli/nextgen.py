"""Prepare and check a run of NOAA's NextGen framework (`ngen`) with a bundle.

`prepare` writes, from a hydrofabric GeoPackage, a bundle and attributes by divide, the configuration
of each catchment, the realization, what t-route needs and, for own forcing, a store; then it checks
all of it. `check` examines a realization for what `ngen` would crash on or silently compute
otherwise than meant.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import NextGenError
from ..io.cf_time import parse_date
from ..io.files import read_json
from ..model.variables import RUNOFF


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``dmg-bmi nextgen``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    prepare = actions.add_parser("prepare", help="write everything that a run needs, and check it")
    prepare.add_argument("bundle", help="a bundle's folder, or a shipped bundle's name")
    prepare.add_argument("--output", type=Path, help="folder that ngen will run in")
    prepare.add_argument("--ngiab", type=Path, metavar="RUN", help="run folder of NextGen In A Box instead")
    prepare.add_argument("--hydrofabric", type=Path, help="GeoPackage (default: that of the run folder)")
    prepare.add_argument("--start", help="begin of the run, UTC, such as 2015-12-01")
    prepare.add_argument("--end", help="its end, not included, such as 2015-12-31")
    prepare.add_argument("--forcing", type=Path, help="NetCDF file or folder of CSV files, hourly")
    prepare.add_argument("--own", action="store_true", help="let components read the forcing themselves")
    prepare.add_argument(
        "--pet",
        choices=("penman_monteith", "priestley_taylor", "hargreaves", "oudin"),
        help="compute potential evapotranspiration from the weather",
    )
    prepare.add_argument("--table", type=Path, help="attributes by divide: .csv, .nc or .parquet")
    prepare.add_argument(
        "--attribute", action="append", default=[], metavar="NAME=COLUMN", help="an attribute's column"
    )
    prepare.add_argument("--holes", choices=("stop", "drop", "neighbours"), default="stop")
    prepare.add_argument("--gaps", choices=("error", "hold"), default="error", help="NaN in the forcing")
    prepare.add_argument("--day-start-hour", type=float, default=0.0, help="UTC hour (default: 0)")
    prepare.add_argument("--multi", action="store_true", help="write a bmi_multi of one module")
    prepare.add_argument("--no-routing", action="store_true", help="without t-route")
    prepare.add_argument("--no-mass-balance", action="store_true", help="do not let ngen check the water")
    prepare.add_argument(
        "--outputs", nargs="+", default=[RUNOFF], metavar="NAME", help="columns of the catchments' files"
    )
    prepare.add_argument("--save-every", type=float, metavar="HOURS", help="save all states so often")
    prepare.add_argument("--restart", action="store_true", help="go on from the states saved for --start")
    prepare.add_argument("--params", type=Path, help="JSON file of model_params for all catchments")
    prepare.set_defaults(act=_prepare)

    examine = actions.add_parser("check", help="examine a realization before it runs")
    examine.add_argument("realization", type=Path)
    examine.add_argument("--hydrofabric", type=Path, required=True)
    examine.add_argument("--folder", type=Path, help="where ngen will run (default: above config/)")
    examine.set_defaults(act=_check)


def command(given: argparse.Namespace) -> None:
    """``dmg-bmi nextgen``."""
    given.act(given)


def _prepare(given: argparse.Namespace) -> None:
    from ..nextgen.prepare import ngiab
    from ..nextgen.prepare.prepare import Plan, prepare

    if (given.ngiab is None) == (given.output is None):
        raise NextGenError("give --output for a new folder, or --ngiab for one of NextGen In A Box")
    folder = ngiab.RunFolder(given.output) if given.ngiab is None else ngiab.read(given.ngiab)
    plan = Plan(
        bundle=given.bundle,
        output=folder.path,
        hydrofabric=_needed(given.hydrofabric or folder.hydrofabric, "--hydrofabric"),
        start=_date(given.start, folder.start, "--start"),
        end=_date(given.end, folder.end, "--end"),
        forcing=given.forcing or folder.forcing,
        own=given.own,
        pet=given.pet,
        table=given.table,
        columns=dict(_pair(text) for text in given.attribute),
        holes=given.holes,
        gaps=given.gaps,
        day_start_hour=given.day_start_hour,
        multi=given.multi,
        routing=not given.no_routing,
        mass_balance=not given.no_mass_balance,
        outputs=given.outputs,
        model_params=_params(given.params),
        save_every=given.save_every,
        restart=given.restart,
        ngiab=given.ngiab is not None,
    )
    done = prepare(plan)
    for finding in done.findings:
        print(finding)
    print(f"{done.catchments} catchments are ready. In {plan.output} run")
    own, fabric = (path.relative_to(plan.output) for path in (done.realization, done.hydrofabric))
    print(f"  ngen {fabric} all {fabric} all {own}")


def _check(given: argparse.Namespace) -> None:
    from ..nextgen.check.realization import check

    findings = check(given.realization, given.hydrofabric, given.folder)
    for finding in findings:
        print(finding)
    if findings.fatal:
        raise NextGenError(f"{len(findings.fatal)} of these must be changed before a run")
    print(f"{given.realization}: nothing found that would keep it from running as meant")


def _needed(value: Path | None, option: str) -> Path:
    if value is None:
        raise NextGenError(f"give {option}")
    return value


def _date(text: str | None, default: np.datetime64 | None, option: str) -> np.datetime64:
    if text is None:
        if default is None:
            raise NextGenError(f"give {option}, such as 2015-12-01")
        return default
    return parse_date(text, option, NextGenError)


def _pair(text: str) -> tuple[str, str]:
    name, equals, column = text.partition("=")
    if not (name and equals and column):
        raise NextGenError(f"--attribute: {text!r} is not NAME=COLUMN")
    return name, column


def _params(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    content = read_json(path, NextGenError)
    if not isinstance(content, dict):
        raise NextGenError(f"{path}: must hold names and values")
    return content
