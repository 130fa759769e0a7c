"""Tests of the loop; a package, because other folders have tests of the same names."""
