"""The paper's experiments: each trains several models, measures them on the same images, prints one table."""
