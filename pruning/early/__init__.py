"""Pruning before training: which weights, or whole channels, an untrained network keeps."""
