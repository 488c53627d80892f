"""From an adapter to files that other runtimes take, and the proof that they answer alike."""
