"""The page of the service: one HTML file, its style and its JavaScript modules. No build step changes these files."""
