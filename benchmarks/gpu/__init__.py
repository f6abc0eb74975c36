"""The check of serving and fitting on a GPU: one program that runs every part, and reports what each part found."""
