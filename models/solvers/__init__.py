"""Runge-Kutta methods. Every row of a batch has its own time, step size and tolerance."""
