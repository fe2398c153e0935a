"""Neural networks that take and return their recurrent state. No physics, no BMI, no files."""

from .contract import Network, State
from .lstm import LSTM
from .mlp import MLP

__all__ = ["LSTM", "MLP", "Network", "State"]
