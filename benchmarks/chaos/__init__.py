"""The campaign that tries to take the service from its callers."""
