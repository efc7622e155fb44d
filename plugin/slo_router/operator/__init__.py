"""What operators use: the commands, the reports and the page."""
