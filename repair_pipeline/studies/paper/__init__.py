"""The paper's whole study: its figures and tables, a part each, and what its text claims beside what is measured."""
