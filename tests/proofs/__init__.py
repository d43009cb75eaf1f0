"""Proofs of what docs/reliability.md promises. Short samples run with the tests; `make proofs` runs more of each."""
