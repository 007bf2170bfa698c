"""Pictures of parts: colours over photographs, legends, contact sheets, pages of panels, curves.

Nothing here knows where an image comes from: it imports nothing of the package but its errors. The same input
gives the same bytes.
"""
