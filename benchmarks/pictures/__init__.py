"""Pictures made by programs, as a camera, a scanner or a canvas would make them, and what is read from them."""
