"""The command line: a file a theme, each command's arguments, help and function together."""
