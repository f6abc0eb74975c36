"""The offline part: load data, augment, fit, evaluate, profile, export. It imports `models` and never `service`."""
