"""Systems that choose units: ours, baselines and peers."""
