"""Networks: the encoder, Mask2Former with our heads, and their optimizer."""
