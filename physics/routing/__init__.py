"""Rivers: channels, networks and the routing of flow along them."""
