"""Networks: the encoder, Mask2Former with our heads, and what is made of its outputs."""
