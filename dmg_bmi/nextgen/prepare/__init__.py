"""Everything that `ngen` needs to run a bundle over a hydrofabric."""
