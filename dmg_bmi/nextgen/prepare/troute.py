"""Configuration and hydrofabric of t-route, which routes the flows that `ngen` writes."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ...errors import NextGenError
from ...hydrofabric.reader import Hydrofabric
from ...io.atomic import replacing, write_atomic
from .realization import stamp

#: Seconds of a routing step, and how many make an hour.
STEP, PER_HOUR = 300, 12
TABLE = "flowpath-attributes"
#: Columns of flowpath-attributes that t-route makes from others, and would then have twice.
TWICE = ("id", "toid", "vpuid")


#: Parameter of t-route to column of the hydrofabric.
COLUMNS = {
    "key": "id",
    "downstream": "toid",
    "dx": "Length_m",
    "n": "n",
    "ncc": "nCC",
    "s0": "So",
    "bw": "BtmWdth",
    "waterbody": "WaterbodyID",
    "gages": "gage",
    "tw": "TopWdth",
    "twcc": "TopWdthCC",
    "musk": "MusK",
    "musx": "MusX",
    "cs": "ChSlp",
    "alt": "alt",
}
NO_DATA_ASSIMILATION = {
    "streamflow_da": {"streamflow_nudging": False, "diffusive_streamflow_nudging": False},
    "reservoir_da": {
        "reservoir_persistence_da": {
            "reservoir_persistence_usgs": False,
            "reservoir_persistence_usace": False,
        },
        "reservoir_rfc_da": {"reservoir_rfc_forecasts": False},
    },
}
OUTPUT = {
    "stream_output_directory": "./outputs/troute/",
    "stream_output_time": -1,
    "stream_output_type": ".nc",
    "stream_output_internal_frequency": 60,
}


def configuration(geopackage: str, start: np.datetime64, end: np.datetime64, flows: str) -> dict[str, Any]:
    """Return the configuration of t-route for a hydrofabric v2.2.

    Parameters
    ----------
    geopackage, flows : str
        As seen from where t-route runs: the hydrofabric, and the folder of ``nex-*`` files.
    start, end : datetime64
        The run covers ``[start, end)``.
    """
    steps = int((end - start) / np.timedelta64(STEP, "s"))
    return {
        "log_parameters": {"showtiming": True, "log_level": "INFO"},
        "network_topology_parameters": {
            "supernetwork_parameters": {"geo_file_path": geopackage, "columns": dict(COLUMNS)},
            "waterbody_parameters": {"break_network_at_waterbodies": False},
        },
        "compute_parameters": {
            "parallel_compute_method": "by-subnetwork-jit-clustered",
            "compute_kernel": "V02-structured",
            "assume_short_ts": False,
            "subnetwork_target_size": 10000,
            "cpu_pool": 1,
            "restart_parameters": {"start_datetime": stamp(start)},
            "forcing_parameters": {
                "qts_subdivisions": PER_HOUR,
                "dt": STEP,
                "qlat_input_folder": flows,
                "qlat_file_pattern_filter": "nex-*",
                "nts": steps,
                "max_loop_size": steps,
            },
            "data_assimilation_parameters": NO_DATA_ASSIMILATION,
        },
        "output_parameters": {"stream_output": dict(OUTPUT)},
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a configuration."""
    write_atomic(path, yaml.safe_dump(content, sort_keys=False).encode("utf-8"))


def copy_for_routing(fabric: Hydrofabric, target: Path, dropped: Sequence[str] = ()) -> None:
    """Copy a hydrofabric without what makes t-route fail, and without some divides.

    Columns that t-route makes itself are left out, and rows that repeat a flowpath.

    Raises
    ------
    NextGenError
        If the file cannot be changed.
    """
    try:
        with replacing(target) as copy:
            shutil.copyfile(fabric.path, copy)
            with closing(sqlite3.connect(copy)) as file, file:
                _clean(file)
                if dropped:
                    _drop(file, dropped)
    except sqlite3.Error as problem:
        raise NextGenError(f"{fabric.path}: its copy cannot be changed: {problem}") from problem


def _clean(file: sqlite3.Connection) -> None:
    columns = [row[1] for row in file.execute(f'PRAGMA table_info("{TABLE}")')]
    if "link" not in columns:
        return
    for name in TWICE:
        if name in columns:
            file.execute(f'ALTER TABLE "{TABLE}" DROP COLUMN "{name}"')
    file.execute(
        # The table's name is a constant of this module.
        f'DELETE FROM "{TABLE}" WHERE rowid NOT IN (SELECT MIN(rowid) FROM "{TABLE}" GROUP BY link)'  # noqa: S608
    )


def _drop(file: sqlite3.Connection, divides: Sequence[str]) -> None:
    # Triggers on divides call functions of spatial extensions, which are not available.
    triggers = file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'divides'")
    for (name,) in triggers.fetchall():
        file.execute(f'DROP TRIGGER "{name}"')
    file.executemany("DELETE FROM divides WHERE divide_id = ?", [(d,) for d in divides])
