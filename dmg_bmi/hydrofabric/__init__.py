"""River networks and their catchments, as hydrofabric files hold them."""
