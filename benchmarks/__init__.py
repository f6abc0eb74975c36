"""Measurements that support the claims of the documentation. Each program prints a table and draws a figure."""
