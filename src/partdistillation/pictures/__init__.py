"""Drawing: colours over photographs, rows of panels, curves. Imports nothing of the package."""
