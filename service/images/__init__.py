"""Converts pictures and grey levels to digits in MNIST's form."""
