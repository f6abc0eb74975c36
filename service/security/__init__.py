"""API keys and their scopes, rate limits, TLS, and the security headers of answers."""
