"""The method's stages, in the paper's order. Each has a function for one example and a `run` over files."""
