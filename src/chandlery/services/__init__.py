"""One verb each: what chandlery does for people, built from the floors below."""
