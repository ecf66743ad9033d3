"""Figures from scores: metrics, calibration, conformal sets, intervals. Only numpy and scipy."""
