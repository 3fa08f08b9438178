"""Studies: what each choice is worth, measured on the same folds."""
