"""Pictures of parts: colours over photographs, legends, contact sheets, pages of panels, curves.

Nothing here knows what the package does: it imports no other wing. The same input gives the same bytes.
"""
