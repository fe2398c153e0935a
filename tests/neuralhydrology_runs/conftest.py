"""Runs that neuralhydrology itself trains."""

from nh_training import basins, train

__all__ = ["basins", "train"]
