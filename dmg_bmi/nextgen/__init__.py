"""A trained model in NOAA's NextGen framework: what `ngen` needs is written and checked here."""
