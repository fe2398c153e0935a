"""Models of other differentiable platforms. Nothing here is imported unless asked for."""
