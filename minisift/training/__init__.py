"""Training an adapter: settings, rows, the loss, the loop, what it takes."""
