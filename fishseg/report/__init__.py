"""The stage ``report``: every picture of a run, and one page with all of its numbers."""
