"""Where images and masks come from, and how their files are read."""
