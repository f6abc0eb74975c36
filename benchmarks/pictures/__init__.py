"""Pictures like those of a camera, a scanner or a paint program, made by a program, and the answers to them."""
