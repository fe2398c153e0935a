"""Forcing of a component: pushed by a framework or stored, aggregated to steps of the model."""
