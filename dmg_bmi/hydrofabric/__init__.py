"""River networks and their catchments, from hydrofabric files."""

from .network import Divides, Network
from .reader import Hydrofabric, read

__all__ = ["Divides", "Hydrofabric", "Network", "read"]
