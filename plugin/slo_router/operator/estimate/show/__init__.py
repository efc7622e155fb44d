"""Shows an estimate: the tables of terminal and page, and the page."""
