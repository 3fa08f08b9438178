"""Frozen features: computed once, cached in shards, read by everything after."""
