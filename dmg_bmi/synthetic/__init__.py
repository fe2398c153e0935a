"""Synthetic basins with a known truth, for demos and tests."""
