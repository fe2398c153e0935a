"""Models trained with the public packages ``dmg`` 1.5 and ``dhbv2`` 0.6, as bundles.

Their model directory holds a checkpoint ``<model>_ep<epoch>.pt`` (a plain state dict) and
``normalization_statistics.json``; the configuration of the run is a YAML file elsewhere.
Nothing of these packages is needed to read them.
"""

from .assembly import import_dmg
from .checkpoint import recognises

__all__ = ["import_dmg", "recognises"]
