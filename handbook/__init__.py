"""Parts of the documentation site: reference pages that are generated from the code, and formulas as MathML."""
