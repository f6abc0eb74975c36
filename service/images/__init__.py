"""From pictures and grey levels, as people send them, to digits in MNIST's form."""
