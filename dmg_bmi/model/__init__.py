"""Trained models: networks, process models and roles in one module, and bundles of it on disk."""
