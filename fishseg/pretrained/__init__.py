"""The decoder that ships: weights, card and model card, as ``make pretrained`` writes them."""
