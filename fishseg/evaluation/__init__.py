"""The stage ``evaluate``: predictions of every sample, and their scores."""
