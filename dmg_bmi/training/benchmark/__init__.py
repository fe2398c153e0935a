"""Published protocols on whatever basins there are: models side by side, beside published figures."""

from .page import markdown
from .protocol import Protocol, Rival
from .result import Result
from .rivals import Options
from .run import benchmark

__all__ = ["Options", "Protocol", "Result", "Rival", "benchmark", "markdown"]
