"""Neural networks that take and return their recurrent state; no physics, no BMI, no files."""

from .contract import Network, State, make_dropout
from .cuda_lstm import CudaLSTM
from .ea_lstm import EALSTM
from .lstm import LSTM
from .mlp import MLP
from .mts_lstm import MTSLSTM

__all__ = ["EALSTM", "LSTM", "MLP", "MTSLSTM", "CudaLSTM", "Network", "State", "make_dropout"]
