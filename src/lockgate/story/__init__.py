"""The sample registry and its story, and the small system that `init` writes."""
