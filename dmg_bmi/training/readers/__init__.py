"""Readers of training data: one file per data set."""
