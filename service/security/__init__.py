"""Who may ask for what, and how often; and what browsers are told of that."""
