"""What TensorBoard shows of a training; loaded when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..errors import ConfigError


def require_board(wanted: bool) -> None:
    """ConfigError if TensorBoard is `wanted` and not installed."""
    if wanted:
        try:
            import torch.utils.tensorboard  # noqa: F401
        except ImportError as problem:
            raise ConfigError(
                "training.tensorboard needs TensorBoard: pip install 'dmg_bmi[train]'"
            ) from problem


@contextmanager
def board(folder: Path, wanted: bool) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """A callable that takes a step and its values; it does nothing if not `wanted`.

    Raises
    ------
    ConfigError
        If `wanted`, and TensorBoard is not installed.
    """
    if not wanted:
        yield lambda step, values: None
        return
    require_board(wanted)
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(folder) as writer:

        def watch(step: int, values: Mapping[str, float]) -> None:
            for name, value in values.items():
                writer.add_scalar(name, value, step)

        yield watch
