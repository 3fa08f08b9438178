"""Side-by-side measurements and the tables made from them, each one command."""
