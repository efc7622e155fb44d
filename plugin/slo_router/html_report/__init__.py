"""What the HTML reports of the router and of the agent are made of: their frame, their tables, their plots."""
