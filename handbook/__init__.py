"""What makes the site of docs/: the reference, out of the code that it is about, and formulas that need no network."""
