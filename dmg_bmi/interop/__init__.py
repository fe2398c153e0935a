"""Process models of other differentiable platforms, behind the one step. Nothing here is imported unasked."""
