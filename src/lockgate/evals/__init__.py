"""Score answers, run evals and say what their results prove."""
