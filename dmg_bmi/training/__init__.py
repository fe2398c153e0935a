"""Offline training: data, losses, metrics, trainer. Nothing outside imports it to run a model."""

from .calibration import calibrate
from .config import TrainingConfig
from .experiment import Run, train
from .fine_tuning import fine_tune

__all__ = ["Run", "TrainingConfig", "calibrate", "fine_tune", "train"]
