"""What people write: system folders, suite files, policy files and the lock."""
