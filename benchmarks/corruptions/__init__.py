"""The errors of each network on corrupted digits, after MNIST-C (Mu and Gilmer 2019, arXiv 1906.02337)."""
