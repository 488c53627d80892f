"""Valid answers: their language, token by token, long texts in windows, and the protocols of engines."""
