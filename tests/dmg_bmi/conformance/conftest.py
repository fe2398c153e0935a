"""Its modules find each other wherever pytest starts."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
