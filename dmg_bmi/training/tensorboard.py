"""TensorBoard events of a training; TensorBoard is loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..errors import ConfigError


def require_board(enabled: bool) -> None:
    """Raise ConfigError if TensorBoard is `enabled` and not installed."""
    if enabled:
        try:
            import torch.utils.tensorboard  # noqa: F401
        except ImportError as problem:
            raise ConfigError(
                "training.tensorboard needs TensorBoard: pip install 'dmg_bmi[train]'"
            ) from problem


@contextmanager
def board(folder: Path, enabled: bool) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """Yield a callable that takes a step and its values; it does nothing unless `enabled`.

    Raises
    ------
    ConfigError
        If `enabled`, and TensorBoard is not installed.
    """
    if not enabled:
        yield lambda step, values: None
        return
    require_board(enabled)
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(folder) as writer:

        def on_step(step: int, values: Mapping[str, float]) -> None:
            for name, value in values.items():
                writer.add_scalar(name, value, step)

        yield on_step
