"""The registry on disk: the only place that knows SQL."""
