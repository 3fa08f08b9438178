"""Cut fish out of photographs with a frozen vision transformer and a light decoder."""

__version__ = "0.1.0"
