"""Words and rules of the loop, as values: no input or output of any kind."""
