"""The networks of table 1 of Chen et al. 2018 (arXiv 1806.07366), and variants of them."""
