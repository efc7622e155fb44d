"""The subcommands, one module each: options in, a table or JSON and an exit code out."""
