"""What a page is made of, a section a file: each takes the models, and gives HTML, or nothing without records."""
