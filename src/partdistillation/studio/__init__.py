"""The whole way in a browser: start a run, watch it, look at its parts, name them, try them, judge them."""
