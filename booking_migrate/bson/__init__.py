"""Raw BSON: documents, layouts, order and comparison. A value is never re-typed (https://bsonspec.org/spec.html)."""
