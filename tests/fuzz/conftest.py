"""The machinery of the fuzz tests stands beside them, where the benchmark finds it too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
