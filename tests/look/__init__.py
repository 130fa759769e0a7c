"""Tests of what the looking commands and the screens show."""
