"""Which images and masks can be used, which of them belong together, and which to doubt."""
