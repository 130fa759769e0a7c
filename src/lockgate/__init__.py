"""Version control for AI behaviour: change, register, evaluate, gate, promote, in that order."""

__version__ = "0.1.0"
