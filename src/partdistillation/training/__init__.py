"""How networks learn: the loop with exact resume, its checkpoints, the objective, AdamW."""
