"""Pure functions on masks and probabilities: how good they are."""
