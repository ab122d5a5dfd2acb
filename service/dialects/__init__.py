"""What clients of other rerank services send and read, translated to and from the library's own types."""
