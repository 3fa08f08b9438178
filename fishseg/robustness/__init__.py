"""The stage ``robustness``: the decoder on corrupted photographs."""
