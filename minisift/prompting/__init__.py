"""Prompts: the task, demonstrations, the answer format, and the one renderer."""
