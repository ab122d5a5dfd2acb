"""Language models behind OpenAI-compatible endpoints: client, budget and cache, for data scripts and evaluation."""
