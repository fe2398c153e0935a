"""Interactive reports: one HTML file each, which needs no network and nothing beside it."""

from .page import write_page
from .payload import Payload
from .series import Overview, SeriesPacker

__all__ = ["Overview", "Payload", "SeriesPacker", "write_page"]
