"""Runs that neuralhydrology itself trains."""

from nh_training import basins, hourly_basins, train

__all__ = ["basins", "hourly_basins", "train"]
