"""Stepping: groups of rows, forcing sources, clock and aggregation, engines, state codec."""
