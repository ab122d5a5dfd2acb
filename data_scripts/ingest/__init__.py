"""Reading documents of many formats and removing duplicates."""
