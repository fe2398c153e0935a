"""Files in and out, read safely and written whole. Nothing here knows a model."""
