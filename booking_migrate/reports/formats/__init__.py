"""Renderers of pages: one for each format. JSON is not among them, for it is the report model itself."""
