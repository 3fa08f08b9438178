"""The stage ``classify``: which species a fish is, from the features under its mask."""
