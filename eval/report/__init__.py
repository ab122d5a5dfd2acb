"""Reports of evaluation runs: Markdown, one HTML page with plots, and the tables of the project's documents."""
