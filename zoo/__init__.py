"""Pretrained flows: presets, checkpoints, model cards."""
