"""Offline: data, augment, fit, evaluate, profile, export. Knows `models`, never `service`."""
