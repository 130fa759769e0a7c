"""What the design tells as scenes, from end to end."""
