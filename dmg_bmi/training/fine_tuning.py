"""Training that goes on from a trained model: on other basins or years, with some of its networks or all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..io.timeseries import BasinDataset
from ..model.bundle import BundleInfo
from .config import Overrides, TrainingConfig
from .experiment import Run, run
from .run_folder import RunFolder

if TYPE_CHECKING:
    import xarray


def fine_tune(
    bundle: str | Path,
    folder: str | Path,
    overrides: Overrides = (),
    *,
    data: xarray.Dataset | BasinDataset | None = None,
    learns: Sequence[str] = (),
) -> Run:
    """Train a trained model further, with the options and periods that it was trained with.

    Parameters
    ----------
    bundle : path or shipped name
        A bundle, or the folder of a training.
    folder, overrides, data
        As of :func:`~dmg_bmi.training.train`. Basins that the first training held out are not held out. A
        bundle that records no training needs ``periods.train``.
    learns : sequence of str
        Networks whose weights change, by name or pattern (``*_static``); all without any.

    Raises
    ------
    DmgBmiError
        As :func:`~dmg_bmi.training.train` does, or if the bundle cannot be read.
    """
    info = BundleInfo.read(bundle)
    recorded = {**info.provenance.get("training", {}), "basins": {}, "model": {}}
    named = {"name": info.name, "summary": f"{info.name}, trained further"}
    files = RunFolder(Path(folder))
    values = named | going_on(bundle, learns) | files.settings(overrides, data)
    return run(files, TrainingConfig.from_stored(recorded, f"{info.path}: training", values), data)


def going_on(bundle: str | Path, learns: Sequence[str]) -> dict[str, Any]:
    """Return what makes of a configuration one that goes on from a trained model, as overrides."""
    return {"model": {"bundle": str(bundle), "learns": [*learns]}, "training.ensemble": 1}
