"""Roles of networks: what a network does in a model, one file per role."""
