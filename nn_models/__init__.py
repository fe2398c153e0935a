"""Neural networks that take and return their recurrent state; no physics, no BMI, no files."""

from .contract import Network, State, make_dropout
from .lstm import LSTM
from .mlp import MLP

__all__ = ["LSTM", "MLP", "Network", "State", "make_dropout"]
