"""Engines: ways to run one step of a model."""
