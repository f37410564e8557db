"""Training runs as pages: how far each is, and its curves, while it runs and after."""
