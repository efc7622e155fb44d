"""What people look at: tables, documents, plots, the page."""
