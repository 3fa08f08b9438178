"""A trained decoder in use: images in, probabilities and masks out."""
