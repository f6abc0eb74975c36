"""Measurements of what the project claims. Each program prints a table and draws a figure."""
