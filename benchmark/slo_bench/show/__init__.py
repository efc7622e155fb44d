"""The output for people and programs: tables, JSON documents, plots, the HTML page."""
