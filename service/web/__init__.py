"""The page that shows what the service does: one HTML file, its style and its modules, as they are sent."""
