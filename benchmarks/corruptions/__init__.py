"""Corrupted digits, after MNIST-C (Mu and Gilmer 2019, arXiv 1906.02337), and how often each network errs on them."""
