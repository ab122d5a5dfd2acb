"""Reading documents of many formats and removing what stands twice."""
