"""Checks of a realization: what makes `ngen` crash, or compute something else than was meant."""
