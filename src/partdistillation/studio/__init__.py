"""From photographs to named parts in a browser, without a terminal."""
