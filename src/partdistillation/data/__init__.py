"""Inputs: images, annotation files and folders, and the augmentation that training applies to them."""
