"""Whose trained model a folder holds, told from its files, and the reader that makes a bundle of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..io.files import as_path
from ..model.bundle import Bundle
from ..model.bundle_files import DESCRIPTION
from . import import_dmg, import_neuralhydrology, noaa_lstm


@dataclass(frozen=True)
class Importer:
    """A reader of the models of one package.

    Parameters
    ----------
    package : str
        Who trained them.
    holds : str
        By which files their folders are recognised.
    recognises : callable
        Tells from its files whether a folder is one of them; reads none of them in full.
    load : callable
        Makes a bundle of the folder; takes the keywords `name` and `options`.
    options : tuple of str
        Keywords of `load` that a user may give.
    equality : str
        How the bundle compares with the model that was imported, and what shows it.
    """

    package: str
    holds: str
    recognises: Callable[[Path], bool]
    load: Callable[..., Bundle]
    options: tuple[str, ...]
    equality: str


def _ours(folder: Path) -> bool:
    return os.path.isfile(folder / DESCRIPTION)


def _load_ours(folder: Path, name: str) -> Bundle:
    """Load a bundle, such as a downloaded one, whose files are links into a cache."""
    return Bundle.load(folder)


IMPORTERS = (
    Importer("dmg_bmi", DESCRIPTION, _ours, _load_ours, (), "the same weights, checked by their checksum"),
    Importer(
        "dmg or dhbv2",
        "<model>_ep<epoch>.pt with normalization_statistics.json",
        import_dmg.recognises,
        import_dmg.import_dmg,
        ("config", "epoch"),
        "flow and evaporation of a forward within 1e-4 mm/d of theirs",
    ),
    Importer(
        "neuralhydrology",
        "config.yml with model_epoch<number>.pt and train_data/train_data_scaler.yml",
        import_neuralhydrology.recognises,
        import_neuralhydrology.import_neuralhydrology,
        ("epoch", "stepping", "step"),
        "with --stepping window within 1e-5 of the flow's standard deviation of their evaluation; with a "
        "continuous state as far from it as the past beyond the window matters",
    ),
    Importer(
        "NOAA's LSTM",
        "a configuration file with train_cfg_file and area_sqkm",
        noaa_lstm.recognises,
        noaa_lstm.import_noaa,
        (),
        "1e-6 of the flow of their own component (dmg_bmi.NoaaLstmBmi reads the configuration file itself)",
    ),
)


#: How deep below the folder of a run its model is looked for: dmg puts it into ``model/`` of one of several
#: folders, a training of ours into ``bundle/``.
DEPTH = 4


def recognise(path: str | Path) -> tuple[Importer, Path]:
    """Tell whose model a path holds, itself or somewhere below it, and where that is.

    Raises
    ------
    ConfigError
        If there is nothing there, no reader knows it, or it holds several; it then names what was looked for.
    """
    folder = as_path(path, ConfigError)
    if not os.path.exists(folder):
        raise ConfigError(f"{folder}: no such file or folder")
    level = [folder]
    for _ in range(DEPTH + 1):
        found = [(importer, one) for one in level if (importer := _importer_of(one)) is not None]
        if len(found) == 1:
            return found[0]
        if found:
            shown = ", ".join(str(one) for _, one in found[:10])
            raise ConfigError(f"{folder}: holds {len(found)} models; name one of {shown}")
        level = [below for one in level for below in _folders(one)]
    known = "; ".join(f"{importer.package}: {importer.holds}" for importer in IMPORTERS)
    raise ConfigError(f"{folder}: holds no model that can be imported; looked for {known}")


def _importer_of(folder: Path) -> Importer | None:
    return next((importer for importer in IMPORTERS if importer.recognises(folder)), None)


def _folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, links aside, which may lead anywhere."""
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def import_model(path: str | Path, name: str | None = None, **options: Any) -> tuple[Importer, Bundle]:
    """Make a bundle of a model that another package has trained.

    Parameters
    ----------
    path : path
        The folder of the model, or of the run that it is somewhere in.
    name : str, optional
        Of the bundle.
    **options
        Those of the reader of that package, see :attr:`Importer.options`; None is left out.

    Raises
    ------
    ConfigError
        If no reader knows the folder, or the reader has no such option.
    DmgBmiError
        If anything is unknown, missing or of another shape: nothing is imported in part.
    """
    importer, folder = recognise(path)
    given = {key: value for key, value in options.items() if value is not None}
    unused = [key for key in given if key not in importer.options]
    if unused:
        raise ConfigError(
            f"{path}: --{unused[0]} has no meaning for a model of {importer.package}; leave it out"
        )
    return importer, importer.load(folder, name=name, **given)
