"""Assimilation: states brought in line with observations. Its options are read without PyTorch."""
