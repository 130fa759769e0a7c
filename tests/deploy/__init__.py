"""Tests of what reaches production."""
