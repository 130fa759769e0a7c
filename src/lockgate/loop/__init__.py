"""The five steps, one file each; steps do not import each other."""
