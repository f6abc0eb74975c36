"""What the project claims, measured: each module is a program that prints a table and draws a figure."""
