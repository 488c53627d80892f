"""Scores of predicted spans: precision, recall, F1, calibration, what went wrong."""
