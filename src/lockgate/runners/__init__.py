"""Ways to ask a version for an answer, each in a process of its own."""
