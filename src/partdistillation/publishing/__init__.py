"""A part model on the hub: its card, written from its run, and the upload."""
