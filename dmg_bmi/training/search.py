"""Search of hyper-parameters by Optuna: each trial is a training, judged by its validation alone."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError, TrainingError
from ..io.atomic import make_folder
from ..io.typed_yaml import from_mapping, read_yaml
from .config import Overrides, TrainingConfig, settings
from .experiment import require_extras, train
from .renamed_keys import current_key
from .run_folder import STUDY

log = logging.getLogger("dmg_bmi")


@dataclass(frozen=True)
class Range:
    """The range of a searched key.

    Parameters
    ----------
    low, high : int or float
        Whole numbers are drawn if both are whole.
    log : bool
        Draw the logarithm evenly.
    """

    low: int | float
    high: int | float
    log: bool = False


def search(
    config: str | Path,
    space: str | Path | Mapping[str, Any],
    folder: str | Path,
    trials: int = 20,
    overrides: Overrides = (),
) -> dict[str, Any]:
    """Train repeatedly with other settings, and find the best.

    Parameters
    ----------
    config : path
        Configuration of a training with ``periods.validation``, whose best median NSE is the objective.
    space : path or mapping
        Key of the configuration to a list of choices or to `low`, `high` and `log`::

            training.learning_rate: {low: 0.001, high: 0.1, log: true}
            model.nn.dynamic.hidden_size: [16, 32, 64]
    folder : path
        Holds ``study.log`` and the run folder of each trial. Called again, the search resumes.
    trials : int
        Their number in all calls.
    overrides : sequence of str, or mapping
        ``section.key=value``, or ``section.key`` to value, for every trial.

    Returns
    -------
    dict of key to value
        Settings of the best trial.
    """
    optuna = _import_optuna()
    folder = Path(folder)
    base = TrainingConfig.read(config, overrides)
    require_extras(base)
    if base.periods.validation is None:
        raise ConfigError(f"{config}: a search needs periods.validation; test years must not choose anything")
    choices = _choices(space)
    study = _study(optuna, folder)

    def objective(trial: Any) -> float:
        chosen = {key: _suggest(trial, key, choice) for key, choice in choices.items()}
        run = train(config, folder / f"trial-{trial.number:03d}", settings(overrides) | chosen)
        if run.history.best is None:
            raise TrainingError("no validation was made")
        return run.history.best[1]

    done = sum(trial.state.is_finished() for trial in study.trials)
    study.optimize(objective, max(trials - done, 0), catch=(TrainingError,))
    log.info("best of %d trials: validation NSE %.4f", len(study.trials), study.best_value)
    return {current_key(key): value for key, value in study.best_params.items()}


def _import_optuna() -> Any:
    try:
        import optuna
        import optuna.storages.journal
    except ImportError as problem:
        raise ConfigError("a search needs Optuna: pip install 'dmg_bmi[search]'") from problem
    return optuna


def _study(optuna: Any, folder: Path) -> Any:
    """Make the study of a folder, or load it."""
    make_folder(folder)
    journal = optuna.storages.journal.JournalFileBackend(str(folder / STUDY))
    return optuna.create_study(
        study_name="search",
        direction="maximize",
        storage=optuna.storages.JournalStorage(journal),
        sampler=optuna.samplers.TPESampler(seed=0),
        load_if_exists=True,
    )


def _choices(space: str | Path | Mapping[str, Any]) -> dict[str, list[Any] | Range]:
    source, content = ("search", space) if isinstance(space, Mapping) else (str(space), read_yaml(space))
    result: dict[str, list[Any] | Range] = {}
    for key, choice in content.items():
        result[key] = choice if isinstance(choice, list) else from_mapping(Range, choice, f"{source}: {key}")
    if not result:
        raise ConfigError(f"{source}: names no key to search")
    return result


def _suggest(trial: Any, key: str, choice: list[Any] | Range) -> Any:
    if isinstance(choice, list):
        return trial.suggest_categorical(key, choice)
    if isinstance(choice.low, int) and isinstance(choice.high, int):
        return trial.suggest_int(key, **asdict(choice))
    return trial.suggest_float(key, **asdict(choice))
