"""Generated pictures that look like pictures of a camera, a scanner or a paint program, and the answers to them."""
