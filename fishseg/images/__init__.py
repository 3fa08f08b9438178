"""Image and mask files to arrays of the size they are wanted at."""
