"""Runge-Kutta methods in which every row of a batch has its own time, step size and tolerance."""
