"""Signatures by people, made and checked by ssh-keygen."""
