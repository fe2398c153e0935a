"""What is trained, and what of it is on disk: networks, roles, process models, bundles."""
