"""Servers to compare with, one application per module: three simple servers for the same artifact, and two floors.

The simple servers are FastAPI applications, each in its best measured configuration. The floors compute nothing.
"""
