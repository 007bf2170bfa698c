"""Published checkpoints of other code, turned into this project's model directories."""
