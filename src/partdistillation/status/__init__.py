"""How far a run is, wherever its files are, and what goes wrong in it. No torch here."""
