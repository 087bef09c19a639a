"""Learning: torch models on codes, lowering to the integer program, training."""
